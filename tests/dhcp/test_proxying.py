"""Which addresses another DHCP server gives, as the machines' broadcast REQUESTs tell them."""

from __future__ import annotations

from tests.dhcp.test_proxy import taking, world
from tests.dhcp.world import (
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    OTHER_STRANGER,
    PXE_X64,
    STRANGER,
    SYSTEM,
    address,
    discover,
)


async def test_a_request_to_the_other_server_is_only_noted() -> None:
    """The address that the machine takes stands as if leased, with its boot; the last one counts."""
    beside = world()
    await beside.say(discover(STRANGER, IPXE))
    for wanted in ("10.77.0.50", "10.77.0.51"):
        assert await beside.say(taking(STRANGER, wanted, IPXE)) is None
        (lease,) = await beside.store.leases()
        boot = beside.boots.current(STRANGER)
        assert boot is not None
        assert (lease.address, lease.mac, lease.boot_id) == (address(wanted), STRANGER, boot.id)
        assert boot.address == address(wanted)
    assert boot is not None and [s.step for s in boot.steps] == ["discover", "offer", "ack"]


async def test_who_takes_an_address_last_has_it() -> None:
    """The other server gave it to somebody else: the first one's note goes."""
    beside = world()
    for mac in (STRANGER, OTHER_STRANGER):
        await beside.say(discover(mac, IPXE))
        await beside.say(taking(mac, "10.77.0.50", IPXE))
    (lease,) = await beside.store.leases()
    assert lease.mac == OTHER_STRANGER


async def test_repeated_requests_are_written_once() -> None:
    """Firmware asks two or three times; the disk is not asked as often."""
    beside = world()
    await beside.say(discover(STRANGER, IPXE))
    for _ in range(5):
        await beside.say(taking(STRANGER, "10.77.0.50", IPXE))
    assert beside.port.log.count("claimed 10.77.0.50") == 1


async def test_a_declared_address_is_only_expected() -> None:
    """The machine has what the other server gives it, under its declared name; the difference is told."""
    beside = world()
    await beside.say(discover(NODE_MACS[0], PXE_X64))
    await beside.say(taking(NODE_MACS[0], "10.77.0.50", PXE_X64))
    (lease,) = await beside.store.leases()
    assert (lease.holder, lease.address) == ("m1", address("10.77.0.50"))
    (text,) = beside.reported("dhcp_proxy_address")
    assert str(NODE_ADDRESS) in text and "10.77.0.50" in text


async def test_an_address_of_another_network_is_not_noted() -> None:
    """Where the subnet of the file is wrong nothing can be proved about the machine: it is told."""
    beside = world()
    await beside.say(discover(STRANGER, IPXE))
    await beside.say(taking(STRANGER, "10.99.0.50", IPXE))
    assert not await beside.store.leases()
    (text,) = beside.reported("dhcp_proxy_address")
    assert "10.99.0.50" in text and "10.77.0.0/24" in text


async def test_a_claimed_boot_is_not_noted_any_more() -> None:
    """The booted system renews its lease at the other server; ours has nothing to write."""
    beside = world()
    await beside.say(discover(STRANGER, IPXE))
    await beside.say(taking(STRANGER, "10.77.0.50", IPXE))
    boot = beside.boots.current(STRANGER)
    assert boot is not None
    beside.boots.claimed(boot.id)
    await beside.say(taking(STRANGER, "10.77.0.51", SYSTEM))
    (lease,) = await beside.store.leases()
    assert lease.address == address("10.77.0.50")
