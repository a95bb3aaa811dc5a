"""`netboot lease list|show|release`."""

from __future__ import annotations

import asyncio
import json
from ipaddress import IPv4Address

from netboot.model.lease import Rest
from tests.cli.conftest import Verb
from tests.web.api.world import Running


def test_the_list_shows_who_has_which_address(verb: Verb) -> None:
    """By address; an infinite lease never expires."""
    lines = verb("lease", "list").splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["10.0.0.5", "10.0.0.7", "10.0.0.100"]
    assert [line.split()[4] for line in lines] == ["live", "expired", "live"]
    assert "never" in lines[2]


def test_a_lease_is_shown_by_its_address(verb: Verb) -> None:
    """Key by key."""
    shown = dict(line.split(None, 1) for line in verb("lease", "show", "10.0.0.5").splitlines())
    assert shown["holder"] == "n1" and shown["mac"] == "52:54:00:00:00:01"


def test_a_resting_address_is_listed_with_who_uses_it(verb: Verb, api: Running) -> None:
    """Nobody has a lease of it; the note names the card and until when nobody is given it."""
    now = api.world.now
    rest = Rest(IPv4Address("10.0.0.150"), "compute", now, now + 3600, "conflict", None)
    asyncio.run(api.world.store.rest(rest))
    (line,) = (line for line in verb("lease", "list").splitlines() if "10.0.0.150" in line)
    assert "resting" in line and "behind a router without a lease: rests until" in line
    found = {x["address"]: x for x in json.loads(verb("lease", "list", "-o", "json"))}
    assert found["10.0.0.150"]["rest"]["cause"] == "conflict" and found["10.0.0.5"]["rest"] is None
    assert "10.0.0.150" in verb("lease", "show", "10.0.0.150")
    assert "10.0.0.150" not in verb("lease", "list", "--network", "other")


def test_a_living_machines_lease_is_released_by_force_alone(verb: Verb) -> None:
    """Refused with the reason and the remedy, then done; an unknown one is said."""
    said = verb("lease", "release", "10.0.0.5", status=1)
    assert "the lease of n1 runs" in said and "force=true" in said
    assert (
        verb("lease", "release", "10.0.0.5", "--force") == "10.0.0.5 of n1 (52:54:00:00:00:01) is released\n"
    )
    assert "there is no such lease" in verb("lease", "show", "10.0.0.5", status=1)
    assert "there is no such lease" in verb("lease", "release", "10.0.0.5", status=1)
