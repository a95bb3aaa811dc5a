"""The small decisions of the composition root; that it serves is shown in tests/interop and tests/lab."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netboot import app
from netboot.config import UNLIMITED, Config, Server
from netboot.config.model import Api
from netboot.model.inventory import Inventory, Network


def config(server: Server = Server(), api: Api = Api()) -> Config:  # noqa: B008 - frozen values
    """A configuration without networks."""
    return Config((), server, api, Inventory(networks={}, clusters={}, pools={}, nodes=()))


def test_what_a_reload_cannot_change_is_named() -> None:
    """Sockets, users and folders were taken at start: the operator is told which key needs a restart."""
    changed = config(replace(Server(), boot_port=8080, address=IPv4Address("10.0.0.1")), Api(port=9443))
    told = app.needs_restart(config(), changed)
    assert [text.split()[0] for text in told] == ["server.address", "server.boot_port", "server.api"]
    assert app.needs_restart(config(), config()) == []


def test_an_interface_that_came_or_went_is_named_with_its_network() -> None:
    """Its network is in force for the decisions, and nobody on it is answered: that must not be guessed."""
    network = Network("rack2", IPv4Network("10.2.0.0/24"), "eth2", None)
    before, after = config(Server(interfaces=("eth0", "eth1"))), config(Server(interfaces=("eth1", "eth2")))
    after = replace(after, inventory=replace(after.inventory, networks={"rack2": network}))
    assert app.needs_restart(before, after) == [
        "interface eth2 is new: no DHCP, TFTP or HTTP is answered on it (network rack2) until you restart "
        "netboot (systemctl restart netboot)",
        "interface eth0 is no longer named, but stays open until you restart netboot (systemctl restart "
        "netboot)",
    ]


def test_a_changed_replaced_or_vanished_file_is_noticed(tmp_path: Path) -> None:
    """Each of these gives other stamps, an untouched file the same."""
    path = tmp_path / "netboot.yaml"
    path.write_text("a")
    first = app.stamps_of([path])
    assert app.stamps_of([path]) == first
    path.write_text("ab")
    second = app.stamps_of([path])
    fresh = tmp_path / "fresh"
    fresh.write_text("ab")
    fresh.rename(path)
    third = app.stamps_of([path])
    path.unlink()
    assert len({first, second, third, app.stamps_of([path])}) == 4


def test_an_unlimited_limit_is_a_number_for_the_helpers() -> None:
    """Helpers count with whole numbers; `unlimited` is one that is never reached."""
    assert app.whole(64.0) == 64
    assert app.whole(UNLIMITED.count) >= 1_000_000
