"""EDK2's own network clients behind Debian's isc-dhcp-relay."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.interop.dhcp_site import FAR_ADDRESS, FAR_NODE, SERVER, DhcpSite, Host, dhcp_site
from tests.interop.ear import Ear
from tests.lab.appliance import describe, step
from tests.lab.machine import Machine
from tests.lab.namespace import Lab, Router

pytestmark = pytest.mark.lab

LIMIT = 180.0


class Behind(Lab):
    """The link behind a relay agent, as a machine wants it: taps on its bridge, QEMU in its namespace."""

    def __init__(self, relay: Host) -> None:
        super().__init__()
        self.name = relay.name

    def __enter__(self) -> Behind:
        self._router = Router(self._enter)
        return self

    def close(self) -> None:
        """Only what is ours: the namespace is the relay's."""
        assert self._router
        self._router.close()
        self._threads.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[DhcpSite, Behind]]:
    """The daemon, and a network that it reaches through a router with a relay agent only."""
    with dhcp_site() as made, made.relaying(made.one, SERVER, extra=("-a", "-D")), Behind(made.one) as link:
        yield made, link


@pytest.mark.parametrize(
    ("firmware", "mac", "program"),
    [("efi-tftp", FAR_NODE, "snponly.efi"), ("efi-http", "52:54:00:95:00:01", "/programs/")],
    ids=["edk2-tftp", "edk2-http-boot"],
)
def test_edk2_boots_through_a_relay_agent(
    behind: tuple[DhcpSite, Behind], firmware: str, mac: str, program: str
) -> None:
    """Address, program and script: firmware's DHCP and iPXE's relayed, TFTP and HTTP routed."""
    site, link = behind
    with (
        Ear(site.one.name) as ear,
        Machine(link, [mac], firmware=firmware, directory=site.directory, name=firmware) as machine,
    ):
        machine.power_on()
        machine.wait_until(
            "the script was fetched", lambda: step(site.appliance.boot(mac), "script"), timeout=LIMIT
        )
        boot = site.appliance.boot(mac)
        offers = ear.heard("offer", mac)
    told = step(boot, "offer")
    assert told and step(boot, "program") and step(boot, "ack"), describe(boot)
    address = told["detail"].split()[0]
    assert address == FAR_ADDRESS if mac == FAR_NODE else re.fullmatch(r"10\.80\.0\.1\d\d", address)
    assert len(offers) >= 2, "one for the firmware, one for iPXE"
    assert {h.to for h in offers} == {"10.80.0.1"}
    assert any(program in bytes(h.bootp.file).decode("latin-1") for h in offers), describe(boot)
    assert all(h.option("relay_agent_information") for h in offers)
