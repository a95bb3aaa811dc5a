"""Run-time assignments, the operations that bring them about, and admissions: routes and bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from aiohttp import web

from netboot.errors import Refused
from netboot.model.operation import Operation, Order
from netboot.web.api import answers
from netboot.web.api.assignment_shapes import admission, assignment, operation
from netboot.web.api.guard import CALLER
from netboot.web.api.openapi import Route
from netboot.web.api.schema import Json
from netboot.web.api.sources import Sources

_LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,63}}$){_LABEL}(?:\.{_LABEL})*")
_TAGS = 64
_KEYS = ("cluster", "pool", "name", "address", "tags", "drain", "force", "dry_run")
_FLAGS = ("drain", "force", "dry_run")
_MIXED = "name either cluster or pool: a pool brings its own cluster"


class AssignmentViews:
    """The routes of assignments, operations and admissions."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def routes(self) -> tuple[Route, ...]:
        """Everything that is answered here."""
        v1 = "/api/v1"
        one = f"{v1}/nodes/{{mac}}/assignment"
        return (
            Route(f"{v1}/assignments", self.assignments, "what was assigned at run time", "Assignment", True),
            Route(one, self.assignment, "the run-time assignment of a machine", "Assignment"),
            Route(
                one,
                self.assign,
                "assign a machine to a cluster or a pool; the same body again is the same operation, another "
                "one while it runs is refused (409). 200 with the plan for a dry run",
                "Operation",
                method="PUT",
                body="Order",
                status=202,
                also=(200,),
            ),
            Route(
                one,
                self.unassign,
                "return a machine to what the file declares; a running operation is rolled back",
                "Operation",
                query=_FLAGS,
                method="DELETE",
                status=202,
                also=(200,),
            ),
            Route(
                f"{v1}/nodes/{{mac}}/admission",
                self.admit,
                "let a machine that nobody declared join",
                "Admission",
                method="POST",
            ),
            Route(
                f"{v1}/nodes/{{mac}}/admission",
                self.end_admission,
                "let it join no longer",
                "Admission",
                method="DELETE",
            ),
            Route(
                f"{v1}/operations", self.operations, "operations, newest first", "Operation", True, ("limit",)
            ),
            Route(f"{v1}/operations/{{id}}", self.operation, "one operation with its timeline", "Operation"),
            Route(
                f"{v1}/operations/{{id}}",
                self.cancel,
                "roll an operation back; 409 where the machine has moved already",
                "Operation",
                method="DELETE",
                status=202,
            ),
        )

    async def assignments(self, _: web.Request) -> web.Response:
        """Every run-time assignment."""
        assigner = self._from.assigner
        found = sorted(assigner.placements(), key=lambda each: each.machine)
        return answers.everything([shown for each in found if (shown := self.shown(each.machine))])

    async def assignment(self, request: web.Request) -> web.Response:
        """The assignment of one machine."""
        key = await self._from.assigner.machine(request.match_info["mac"])
        if (found := self.shown(key)) is None:
            raise Refused(
                404, f"{key} has no run-time assignment", "`netboot assignment list` tells which have one"
            )
        return web.json_response(found)

    async def assign(self, request: web.Request) -> web.Response:
        """Begin a reassignment, or say what it would do."""
        _only(request, ())
        order, dry_run = order_of(await request.read())
        which, by = request.match_info["mac"], request[CALLER].name
        return _begun(await self._from.assigner.assign(which, order, by=by, dry_run=dry_run))

    async def unassign(self, request: web.Request) -> web.Response:
        """Begin the way back to what the file declares."""
        _only(request, _FLAGS)
        if (await request.read()).strip() not in (b"", b"{}"):
            raise Refused(400, "DELETE takes no body", f"Say {', '.join(_FLAGS)} in the query: ?drain=true")
        order = Order(drain=answers.flag(request, "drain"), force=answers.flag(request, "force"))
        which, by = request.match_info["mac"], request[CALLER].name
        dry_run = answers.flag(request, "dry_run")
        return _begun(await self._from.assigner.unassign(which, order, by=by, dry_run=dry_run))

    async def admit(self, request: web.Request) -> web.Response:
        """Let a machine in."""
        mac = answers.mac(request.match_info["mac"])
        return web.json_response(admission(await self._from.assigner.admit(mac, request[CALLER].name)))

    async def end_admission(self, request: web.Request) -> web.Response:
        """Let it in no longer."""
        mac = answers.mac(request.match_info["mac"])
        return web.json_response(admission(await self._from.assigner.end_admission(mac)))

    async def operations(self, request: web.Request) -> web.Response:
        """Operations, newest first."""
        found = self._from.assigner.operations(limit=answers.limit(request, 100))
        return answers.items([operation(each) for each in found], None)

    async def operation(self, request: web.Request) -> web.Response:
        """One operation."""
        found = self._from.assigner.operation(request.match_info["id"])
        return answers.one(operation(found) if found else None, "operation")

    async def cancel(self, request: web.Request) -> web.Response:
        """Roll an operation back."""
        return _begun(await self._from.assigner.cancel(request.match_info["id"]))

    def shown(self, machine: str) -> Json | None:
        """The assignment of a machine; None where it has none."""
        assigner = self._from.assigner
        if (placement := assigner.placement(machine)) is None:
            return None
        return assignment(placement, assigner.broken(machine), assigner.drift(machine))


def _only(request: web.Request, known: Collection[str]) -> None:
    """A wish that is not understood must not pass for none: `?dry_run` least of all. Raises Refused."""
    unknown = sorted(request.query.keys() - set(known))
    if unknown:
        there = f"there are {', '.join(known)}" if known else "what is wanted stands in the body"
        raise Refused(400, f"unknown key {unknown[0]!r} in the query: {there}")


def _begun(found: Operation) -> web.Response:
    if found.state == "planned":
        return web.json_response(operation(found))
    return web.json_response(
        operation(found), status=202, headers={"Location": f"/api/v1/operations/{found.id}"}
    )


def order_of(body: bytes) -> tuple[Order, bool]:
    """The order that a body asks for, and whether it is a dry run. Raises Refused (400)."""
    said = _object(body)
    unknown = sorted(said.keys() - set(_KEYS))
    if unknown:
        raise Refused(400, f"unknown key {unknown[0]!r}: there are {', '.join(_KEYS)}")
    cluster, pool = _text(said, "cluster"), _text(said, "pool")
    if (cluster is None) == (pool is None):
        raise Refused(400, _MIXED)
    order = Order(
        cluster=cluster,
        pool=pool,
        name=_node_name(said),
        address=_address(said),
        tags=_tags(said),
        drain=_flag(said, "drain"),
        force=_flag(said, "force"),
    )
    return order, _flag(said, "dry_run")


def _object(body: bytes) -> Mapping[str, object]:
    try:
        said = json.loads(body, object_pairs_hook=_once)
    except RecursionError:
        raise Refused(400, "the body is no JSON object: it is nested too deeply") from None
    except ValueError as error:
        raise Refused(400, f"the body is no JSON object: {error}") from None
    if not isinstance(said, dict):
        raise Refused(400, "the body is no JSON object")
    return said


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _text(said: Mapping[str, object], key: str) -> str | None:
    value = said.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > 253:
        raise Refused(400, f"{key} is a name of 1 to 253 characters")
    return value


def _node_name(said: Mapping[str, object]) -> str | None:
    name = _text(said, "name")
    if name is not None and not _NAME.fullmatch(name):
        raise Refused(400, "name is a host name: lower-case letters, digits and dashes, 63 at most")
    return name


def _address(said: Mapping[str, object]) -> IPv4Address | None:
    text = _text(said, "address")
    try:
        return IPv4Address(text) if text is not None else None
    except ValueError:
        raise Refused(400, "address is an IPv4 address like 10.0.0.7") from None


def _tags(said: Mapping[str, object]) -> tuple[str, ...] | None:
    tags = said.get("tags")
    if tags is None:
        return None
    if not isinstance(tags, list) or len(tags) > _TAGS or not all(isinstance(tag, str) for tag in tags):
        raise Refused(400, f"tags is a list of names of tags, {_TAGS} at most")
    return tuple(dict.fromkeys(tags))


def _flag(said: Mapping[str, object], key: str) -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise Refused(400, f"{key} is true or false")
    return value
