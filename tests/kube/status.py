"""Refusals, as the Status bodies that a Kubernetes API answers."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """A refusal on its way to the client."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        super().__init__(message)

    def body(self) -> Json:
        """The Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401, without saying why: neither does the real one."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(message: str) -> ApiError:
    """403."""
    return ApiError(403, "Forbidden", message)


def not_found(resource: str, name: str) -> ApiError:
    """404 of an object."""
    return ApiError(404, "NotFound", f'{resource} "{name}" not found')


def no_route() -> ApiError:
    """404 of a path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str) -> ApiError:
    """409 of a create."""
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists')


def conflict(resource: str, name: str, why: str) -> ApiError:
    """409 of an update, a patch or a delete that is out of date."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def invalid(kind: str, name: str, why: str) -> ApiError:
    """422."""
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {why}')


def expired(asked: int, oldest: int) -> ApiError:
    """410 of a watch from a version that history has lost."""
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def internal(message: str) -> ApiError:
    """500."""
    return ApiError(500, "InternalError", message)
