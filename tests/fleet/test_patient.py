"""One bad answer of a server is no outage."""

from __future__ import annotations

from typing import Any

import pytest

from netboot.cluster import Access, NodeObject, Pod
from netboot.errors import ClusterRefused, ClusterUnavailable
from netboot.fleet.patient import Patient

NODE = NodeObject("m1", "uid", "1", 0.0, "True")


class Failing:
    """An API whose first answers are these."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        async def call(*_: object, **__: object) -> str:
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)
            return name

        return call


@pytest.mark.parametrize("name", ["may", "node", "delete_node", "pods_on", "evict"])
async def test_a_call_is_made_once_more_after_an_error_of_the_server(name: str) -> None:
    """Twice is an outage."""
    argument: Any = {"may": Access("get", "nodes"), "evict": Pod("a", "b", "c")}.get(name, "m1")
    bad = ClusterUnavailable("500", status=500)
    api = Failing(bad)
    assert await getattr(Patient(api), name)(argument) == name and api.calls == 2
    with pytest.raises(ClusterUnavailable):
        await getattr(Patient(Failing(bad, bad)), name)(argument)


async def test_who_does_not_answer_or_refuses_is_not_asked_again_at_once() -> None:
    """Nor who says when to come back."""
    for error in (
        ClusterUnavailable("no answer"),
        ClusterUnavailable("429", 5.0, 429),
        ClusterRefused(403, "no"),
    ):
        api = Failing(error)
        with pytest.raises(type(error)):
            await Patient(api).schedule(NODE, {}, on=False)
        assert api.calls == 1
