"""`/hosts` on the boot port: for machines of declared networks, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, cast

import pytest

from netboot.errors import Refused
from netboot.web.boot.names import Names
from tests.web.boot_site import STRANGER, running


async def test_the_names_of_nodes_are_for_declared_networks(tmp_path: Path) -> None:
    """Any address of such a network may ask, leased or not; from elsewhere there is nothing here."""
    async with running(tmp_path) as world:
        answer = await world.ask("/hosts", source=STRANGER)
        assert (answer.status, answer.body) == (200, b"127.0.0.20 m1c29\n")
        assert answer.headers["content-type"] == "text/plain; charset=us-ascii"
        assert (await world.ask("/hosts", method="POST")).status == 405
        lab = replace(world.inventory.networks["lab"], subnet=IPv4Network("127.0.0.0/27"))
        world.inventory = replace(world.inventory, networks={"lab": lab})
        assert (await world.ask("/hosts")).status == 200
        refused = world.journal.counters["boot_refused"]
        assert (await world.ask("/hosts", source=STRANGER)).status == 404
        assert world.journal.counters["boot_refused"] == refused + 1


async def test_no_name_server_is_given_an_empty_list_after_a_start(tmp_path: Path) -> None:
    """Until the first look at all machines is through, it keeps what it fetched before."""
    async with running(tmp_path) as world:
        site = cast(Any, type("Site", (), {"inventory": lambda self: world.inventory})())
        request = cast(Any, type("Request", (), {"client": IPv4Address("127.0.0.30")})())
        with pytest.raises(Refused, match="has just started") as refused:
            await Names(site, lambda: None).hosts(request)
        assert refused.value.status == 503
