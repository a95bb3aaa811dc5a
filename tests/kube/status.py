"""Refusals, as the Status bodies that a Kubernetes API answers."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """A refusal on its way to the client."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Json | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
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
            **({"details": self.details} if self.details else {}),
            "code": self.code,
        }

    def headers(self) -> dict[str, str]:
        """Retry-After, where the details say for how long."""
        seconds = self.details.get("retryAfterSeconds")
        return {"Retry-After": str(seconds)} if seconds else {}


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


def too_late() -> ApiError:
    """410 of a page whose list is too old."""
    return ApiError(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the continue parameter.",
    )


def held(why: str, retry_after: int = 0) -> ApiError:
    """429 of an eviction that a PodDisruptionBudget does not allow now."""
    details: Json = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", message, details=details)


def internal(message: str) -> ApiError:
    """500."""
    return ApiError(500, "InternalError", message)
