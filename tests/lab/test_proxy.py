"""Real firmware beside a foreign DHCP server (dnsmasq): its addresses, our programs, our script."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.interop.test_proxy import DHCP, config, dnsmasq
from tests.lab import images
from tests.lab.appliance import Appliance, describe, step
from tests.lab.machine import Machine
from tests.lab.namespace import Lab
from tests.lab.site import JOIN_LIMIT, scratch, write_yaml

pytestmark = pytest.mark.lab

MACS = {"bios": "52:54:00:77:00:41", "efi-tftp": "52:54:00:77:00:42", "efi-http": "52:54:00:77:00:43"}


@dataclass
class Site:
    """The appliance in mode proxy, beside dnsmasq."""

    lab: Lab
    appliance: Appliance
    directory: Path

    def boot(self, firmware: str, until: str) -> dict[str, Any]:
        """Power a machine on; its boot once it has reached a step, or has `joined`."""
        mac = MACS[firmware]

        def look() -> object:
            boot = self.appliance.boot(mac)
            return boot if boot and (boot["state"] == until or step(boot, until)) else None

        with Machine(self.lab, [mac], firmware=firmware, directory=self.directory, name=firmware) as machine:
            machine.power_on()
            try:
                found = machine.wait_until(f"boot of {mac} at {until}", look, JOIN_LIMIT)
            except AssertionError as error:
                log = self.appliance.log()[-3000:]
                raise AssertionError(f"{error}\n{describe(self.appliance.boot(mac))}\n{log}") from None
            print(f"{firmware}: {machine.cpu_seconds:.1f} CPU s to {until}")
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def beside() -> Iterator[Site]:
    """One namespace with both servers; the micro image, which joins nothing."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        images.build(directory / "images", micro=True)
        lab = stack.enter_context(Lab())
        stack.enter_context(dnsmasq(lab, "dhcp", DHCP, 100, directory))
        content = config(directory)
        content["tags"] = {"all": {"kernel_parameters": ["console=ttyS0,115200n8"]}}
        configs = [write_yaml(directory / "netboot.yaml", content)]
        appliance = stack.enter_context(Appliance(lab, configs, directory, directory / "data"))
        yield Site(lab, appliance, directory)


@pytest.mark.parametrize(
    ("firmware", "program"),
    [("bios", None), ("efi-http", "by HTTP")],
    ids=["bios-ipxe", "edk2-http-boot"],
)
def test_firmware_takes_its_address_there_and_its_script_here(
    beside: Site, firmware: str, program: str | None
) -> None:
    """It puts the two offers together, and asks for the script from the address that we saw it take."""
    boot = beside.boot(firmware, "script")
    steps = [s["step"] for s in boot["steps"]]
    assert steps[:3] == ["discover", "offer", "ack"], describe(boot)
    assert DHCP in boot["steps"][2]["detail"]
    assert ("program" in steps) == bool(program), describe(boot)


def test_edk2_asks_port_4011_and_its_node_boots_to_the_end(beside: Site) -> None:
    """PXE of EDK2: no file from the offer alone, but from port 4011; then a whole boot with key and claim."""
    boot = beside.boot("efi-tftp", "joined")
    steps = [s["step"] for s in boot["steps"]]
    assert {"program", "script", "seed", "claim", "config", "join"} <= set(steps), describe(boot)
    metrics = beside.appliance.request("GET", "/metrics")[1]
    assert 'kind="dhcp_sent_ack"' in metrics, "it was answered on port 4011"
