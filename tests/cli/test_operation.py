"""`netboot operation list|show|cancel`, and `--wait`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from netboot.cli import operation as module
from netboot.cli.client import Client, Json
from netboot.errors import NetbootError
from netboot.model.operation import BACK, STEPS, Operation, lacking, passed, turned
from tests.cli.conftest import Verb
from tests.web.api.world import Running


def begun(verb: Verb, api: Running) -> Operation:
    """An operation that has come to its first step."""
    said = json.loads(verb("node", "assign", "n1", "catchall", "-o", "json"))
    found = api.world.operations.operation(said["id"])
    assert found is not None
    return found


def goes_on(api: Running, operation: Operation, steps: int) -> Operation:
    """Some steps later."""
    for _ in range(steps):
        operation = passed(operation, f"{operation.step} is done", api.world.now + 3)
    api.world.operations._of[operation.id] = operation
    return operation


def test_operations_are_listed_with_how_far_they_are(verb: Verb, api: Running) -> None:
    """From where to where, at which step."""
    operation = goes_on(api, begun(verb, api), 2)
    (line,) = verb("operation", "list").splitlines()[1:]
    assert line.split()[:6] == [operation.id, "n1", "blue", "catchall", "running", "cordon"]


def test_an_operation_is_drawn_step_by_step(verb: Verb, api: Running) -> None:
    """What is done, what is ahead, who asked for it and how often the appliance was restarted meanwhile."""
    operation = replace(goes_on(api, begun(verb, api), 2), resumed=2)
    api.world.operations._of[operation.id] = operation
    text = verb("operation", "show", operation.id)
    assert "n1: blue (n1) -> catchall (n1)" in text
    assert "by " in text and "resumed after 2 restarts" in text
    assert "+3.0 s  check is done" in text and "delete" in text and "running" in text
    assert "there is no such operation" in verb("operation", "show", "nothing", status=1)


def test_an_operation_that_has_just_begun_shows_its_first_step(verb: Verb, api: Running) -> None:
    """Nothing has happened yet, so everything is ahead."""
    text = verb("operation", "show", begun(verb, api).id)
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("  . ", "  · "))][:2] == [
        "check",
        "assign",
    ]


def test_waiting_ends_with_the_operation_and_its_outcome(
    verb: Verb, api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is printed as it comes; 0 for done, and what is left to the operator."""
    operation = begun(verb, api)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)

    def look(seconds: float) -> None:
        left = lacking(api.world.operations._of[operation.id], "Node n1 is left")
        goes_on(api, left, len(STEPS))

    monkeypatch.setattr("time.sleep", look)
    text = verb("operation", "show", operation.id, "--wait")
    assert [line.split()[1] for line in text.splitlines()[3 : 3 + len(STEPS)]] == list(STEPS)
    assert "left to you: Node n1 is left" in text


def test_waiting_for_one_that_is_rolled_back_ends_with_status_1(verb: Verb, api: Running) -> None:
    """With the reason; cancelling is no failure."""
    operation = turned(begun(verb, api), "catchall refuses us", 1.0)
    goes_on(api, operation, len(BACK))
    assert verb("operation", "show", operation.id, "--wait", status=1) == ""
    assert "rolled back: catchall refuses us" in verb("operation", "show", operation.id)
    assert "rolled back" in verb("operation", "cancel", operation.id, "--wait")


def test_an_operation_is_cancelled(verb: Verb, api: Running) -> None:
    """It is on its way back then."""
    operation = begun(verb, api)
    assert "rolling back: cancelled by an operator" in verb("operation", "cancel", operation.id)
    assert "there is no operation nothing" in verb("operation", "cancel", "nothing", status=1)


def test_who_stops_waiting_is_told_that_it_goes_on(
    verb: Verb, api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the command, status 130, and not the operation."""
    operation = begun(verb, api)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    told = verb("operation", "show", operation.id, "--wait", status=130)
    assert f"`netboot operation show {operation.id} --wait` follows it again" in told
    assert api.world.operations._of[operation.id].ended is None


def test_waiting_bears_a_restart_of_the_appliance(
    verb: Verb, api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer for a while is waited for, longer is an error; a refusal is one at once."""
    operation = begun(verb, api)
    looks: list[int] = []
    get = Client.get

    def restarting(client: Client, *path: str, **query: object) -> Json:
        looks.append(len(looks))
        if 0 < len(looks) - 1 < 4:
            raise NetbootError("no answer")
        if len(looks) > 5:
            goes_on(api, api.world.operations._of[operation.id], len(STEPS))
        return get(client, *path, **query)

    monkeypatch.setattr(Client, "get", restarting)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert "done" in verb("operation", "show", operation.id, "--wait")
    monkeypatch.setattr(module, "RESTART", 0.0)
    again = begun(verb, api)
    looks.clear()
    assert "no answer" in verb("operation", "show", again.id, "--wait", status=1)
