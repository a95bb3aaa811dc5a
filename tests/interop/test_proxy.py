"""Beside a foreign DHCP server (dnsmasq): foreign clients get its addresses and our boot information."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.dhcp_site import FORWARD, Host
from tests.interop.stranger import Stranger
from tests.lab.appliance import Appliance
from tests.lab.namespace import ADDRESS, BRIDGE, Lab, die_with_parent, wait_until
from tests.lab.site import scratch, write_yaml
from tests.proc.house import make_image

pytestmark = pytest.mark.root

CLIENT = Path(__file__).parent / "pxe_client.py"
DHCP, SECOND_DHCP, RELAY = "10.77.0.3", "10.77.0.4", "10.77.0.2"
M1, FAR = "52:54:00:77:00:21", "52:54:00:77:00:51"
FILES = {"vmlinuz": b"kernel" * 400, "initrd.img": b"initrd" * 400, "root.squashfs": b"squashfs" * 4000}


def config(directory: Path, **network: Any) -> dict[str, Any]:
    """A network in mode proxy, one declared machine, a catch-all pool."""
    lab = {"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0", "mode": "proxy", **network}
    far = {"name": "far", "subnet": "10.80.0.0/24", "relayed": True, "address": ADDRESS, "mode": "proxy"}
    cluster = {"name": "alone", "endpoint": "10.77.0.1:6443", "image": "micro", "join": {"method": "none"}}
    return {
        "server": {"data_dir": str(directory / "data"), "images_dir": str(directory / "images")},
        "networks": [lab, far],
        "clusters": [cluster],
        "pools": [
            {"name": "own", "cluster": "alone", "network": "lab", "nodes": [{"name": "m1", "macs": [M1]}]},
            {"name": "unknown", "cluster": "alone", "network": "lab", "catch_all": True},
            {"name": "far", "cluster": "alone", "network": "far", "catch_all": True},
        ],
    }


@contextlib.contextmanager
def dnsmasq(lab: Lab, name: str, address: str, first: int, directory: Path) -> Iterator[Stranger]:
    """A DHCP server on the link that knows nothing of booting."""
    mac = f"52:54:00:77:fe:{int(address.rpartition('.')[2]):02x}"
    with Stranger(lab, name, mac, directory) as host:
        host.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        host.run("ip", "route", "add", "10.80.0.0/24", "via", RELAY)
        leases, range_ = directory / f"{name}.leases", f"10.77.0.{first},10.77.0.{first + 20},1h"
        command = ["dnsmasq", "-d", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--no-ping"]
        far = f"10.80.0.{first},10.80.0.{first + 20},255.255.255.0,1h"
        command += [
            f"--dhcp-range={range_}",
            f"--dhcp-range={far}",
            f"--dhcp-leasefile={leases}",
            "--user=root",
            "--log-dhcp",
        ]
        with (directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", host.name, *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent,
            )  # fmt: skip
        try:
            said = directory / f"{name}.log"
            wait_until("dnsmasq listens", lambda: "IP range" in said.read_text(), 10)
            yield host
        finally:
            process.kill()
            process.wait(10)


class Site:
    """The lab with the appliance and the foreign server in it."""

    def __init__(self, lab: Lab, appliance: Appliance, directory: Path) -> None:
        self.lab, self.appliance, self.directory = lab, appliance, directory
        self._count = 0

    @contextlib.contextmanager
    def stranger(self, mac: str) -> Iterator[Stranger]:
        """A machine on the link."""
        self._count += 1
        with Stranger(self.lab, f"c{self._count}", mac, self.directory) as made:
            yield made

    def pxe(self, machine: Stranger, arch: int, vendor_class: str, port: int = 0) -> dict[str, Any]:
        """What scapy's PXE client heard; `port` is the one that it asks 4011 from, 0 for not at all."""
        command = [sys.executable, str(CLIENT), "eth0", machine.mac, str(arch), vendor_class, str(port)]
        done = machine.run(*command, timeout=60)
        lines = done.stdout.decode().splitlines()
        assert done.returncode == 0 and lines, done.stdout
        found: dict[str, Any] = json.loads(lines[-1])
        return found


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The daemon in mode proxy beside dnsmasq."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        lab = stack.enter_context(Lab())
        make_image(directory / "images", FILES, "micro")
        stack.enter_context(dnsmasq(lab, "dhcp", DHCP, 100, directory))
        configs = [write_yaml(directory / "netboot.yaml", config(directory))]
        appliance = stack.enter_context(Appliance(lab, configs, directory, directory / "data"))
        yield Site(lab, appliance, directory)


@pytest.mark.parametrize(
    ("last", "arch", "vendor_class", "file", "port"),
    [
        ("31", 0, "PXEClient:Arch:00000:UNDI:002001", "undionly.kpxe", 68),
        ("32", 7, "PXEClient:Arch:00007:UNDI:003000", "snponly.efi", 4011),
        ("33", 16, "HTTPClient:Arch:00016:UNDI:003000", f"http://{ADDRESS}/programs/snponly.efi", 0),
    ],
    ids=["bios", "uefi", "uefi-http"],
)
def test_a_machine_has_its_address_from_the_one_and_its_program_from_the_other(
    site: Site, last: str, arch: int, vendor_class: str, file: str, port: int
) -> None:
    """Two OFFERs, one address; port 4011 says the same to the port that asked; the boot shows both."""
    with site.stranger(f"52:54:00:77:00:{last}") as machine:
        heard = site.pxe(machine, arch, vendor_class, port)
        by_server = {offer["server"]: offer for offer in heard["offers"]}
        assert set(by_server) == {ADDRESS, DHCP}
        ours = by_server[ADDRESS]
        assert (ours["yiaddr"], ours["siaddr"]) == ("0.0.0.0", ADDRESS)
        assert (ours["file"], ours["vendor"]) == (file, vendor_class.split(":")[0])
        assert heard["address"] and by_server[DHCP]["yiaddr"] == heard["address"]
        if port:
            answer = heard["boot server"]
            assert (answer["type"], answer["file"], answer["from"], answer["xid"]) == (5, file, 4011, True)
            assert answer["yiaddr"] == "0.0.0.0"
        boot = site.appliance.boot(machine.mac)
        assert boot is not None
        assert [s["step"] for s in boot["steps"]] == ["discover", "offer", "ack"]
        told = f"; port 4011: {file}" if port else ""
        assert boot["steps"][2]["detail"] == f"{heard['address']} of its DHCP server {DHCP}{told}"
        assert site.appliance.get(f"/api/v1/leases/{heard['address']}")["mac"] == machine.mac


def test_the_script_and_seed_go_to_the_address_that_was_seen_and_to_its_card(site: Site) -> None:
    """From the machine itself: a script with a key that yields a seed. From any other address: neither."""
    with site.stranger(M1) as machine, site.stranger("52:54:00:77:66:01") as foe:
        address = site.pxe(machine, 7, "PXEClient:Arch:00007:UNDI:003000")["address"]
        site.pxe(foe, 7, "PXEClient:Arch:00007:UNDI:003000")
        status, script = machine.script()
        assert status == 200 and "seed.cpio" in script and f"ip={address}::" in script
        key = script.partition("/boot/")[2].partition("/")[0]
        assert "seed.cpio" not in foe.script(M1)[1]
        assert foe.curl(f"/boot/{key}/seed.cpio")[0] == 404
        assert machine.curl(f"/boot/{key}/seed.cpio")[0] == 200


def test_an_address_that_was_never_asked_for_gets_no_seed(site: Site) -> None:
    """The machine has the right card, but nobody saw it take this address."""
    with site.stranger("52:54:00:77:66:02") as machine:
        site.pxe(machine, 7, "PXEClient:Arch:00007:UNDI:003000")
        machine.run("ip", "addr", "flush", "dev", "eth0")
        machine.run("ip", "addr", "add", "10.77.0.66/24", "dev", "eth0")
        status, script = machine.script()
        assert status == 200 and "seed.cpio" not in script and "10.77.0.66" in script


def test_the_card_must_be_the_one_that_asked(site: Site) -> None:
    """Somebody else takes the seen address over: the link shows another card there."""
    with site.stranger("52:54:00:77:66:03") as machine:
        address = site.pxe(machine, 7, "PXEClient:Arch:00007:UNDI:003000")["address"]
    with site.stranger("52:54:00:77:66:04") as foe:
        foe.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        wait_until("the neighbour entry is the foe's", lambda: foe.script()[0] == 200, 15)
        assert "seed.cpio" not in foe.script(machine.mac)[1]


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_running_systems_are_left_to_their_own_server(site: Site, client: str) -> None:
    """They get its address, and not one word of ours; nothing of them is written down."""
    with site.stranger(f"52:54:00:77:66:1{len(client) % 10}") as machine:
        before = len(site.appliance.items("/api/v1/leases"))
        if client == "udhcpc":
            assert machine.lease().startswith("10.77.0.1")
        else:
            leases = site.directory / "dhclient.leases"
            done = machine.run(
                "timeout", "8", "dhclient", "-v", "-1", "-d", "-sf", "/bin/true", "-lf", str(leases),
                "-pf", str(site.directory / "dhclient.pid"), "eth0",
            )  # fmt: skip
            assert f"from {DHCP}".encode() in done.stdout and b"bound to 10.77.0.1" in done.stdout
        assert len(site.appliance.items("/api/v1/leases")) == before
        assert site.appliance.boot(machine.mac) is None


def test_the_expected_server_is_no_rival_and_a_second_one_is(site: Site) -> None:
    """One gives the addresses; when another one answers too, it is told once, with its card."""
    assert "dhcp_rival" not in site.appliance.log()
    with dnsmasq(site.lab, "dhcp2", SECOND_DHCP, 140, site.directory) as second:
        with site.stranger("52:54:00:77:66:21") as machine:
            for _ in range(2):
                site.pxe(machine, 0, "PXEClient:Arch:00000:UNDI:002001")
                machine.run("ip", "addr", "flush", "dev", "eth0")
        log = wait_until(
            "the second server is told",
            lambda: [x for x in site.appliance.log().splitlines() if "dhcp_rival" in x],
            10,
        )
        assert isinstance(log, list)
        (line,) = log
        assert DHCP in line and SECOND_DHCP in line and second.mac in line and "br0" in line


def test_a_relayed_machine_is_offered_both_and_gets_no_seed(site: Site) -> None:
    """Debian's dhcrelay brings it both offers; but nothing proves its address, so there is no system."""
    with contextlib.ExitStack() as stack:
        relay = stack.enter_context(Host(site, "r"))  # type: ignore[arg-type]
        relay.run("sysctl", "-qw", FORWARD, check=True)
        relay.plug(site.lab.name, BRIDGE, "52:54:00:77:fe:02")
        relay.ip(f"addr add {RELAY}/24 dev eth0")
        relay.bridge(BRIDGE, "10.80.0.1/24")
        site.lab.ip(f"route add 10.80.0.0/24 via {RELAY}")
        log = site.directory / "relay.log"
        relay.start("dhcrelay", "-4", "-d", "-id", BRIDGE, "-iu", "eth0", ADDRESS, DHCP, log=log)
        wait_until("the relay agent listens", lambda: b"Sending on" in log.read_bytes(), 20)
        machine = stack.enter_context(Host(site, "far"))  # type: ignore[arg-type]
        machine.plug(relay.name, BRIDGE, FAR)
        said = machine.run(
            sys.executable, str(CLIENT), "eth0", FAR, "7", "PXEClient:Arch:00007:UNDI:003000", "0"
        )
        heard = json.loads(said.splitlines()[-1])
        assert {o["server"]: o["file"] for o in heard["offers"]} == {ADDRESS: "snponly.efi", DHCP: ""}
        assert heard["address"].startswith("10.80.0.")
        machine.ip("route add default via 10.80.0.1")
        script = machine.run("curl", "-sS", "-m", "15", f"http://{ADDRESS}/ipxe?mac={FAR}")
        assert script.startswith("#!ipxe") and "seed.cpio" not in script and "mode proxy" in script


def test_a_reload_opens_and_closes_port_4011(site: Site) -> None:
    """Mode server: an address of ours, and nobody on 4011. Mode proxy again: back as it was."""

    def listening() -> bool:
        return "4011" in site.lab.run("ss", "-lun")

    def reload(**network: Any) -> None:
        content = config(site.directory, **network)
        if network:  # the relayed network would keep port 4011 open on every interface
            del content["networks"][1], content["pools"][2]
        write_yaml(site.appliance.configs[0], content)
        before = site.appliance.log().count("reloaded:")
        wait_until("it reloaded", lambda: site.appliance.log().count("reloaded:") > before, 20)

    assert listening()
    reload(mode="server", range="10.77.0.200-10.77.0.210")
    assert not listening()
    with site.stranger("52:54:00:77:66:31") as machine:
        offers = site.pxe(machine, 7, "PXEClient:Arch:00007:UNDI:003000")["offers"]
        assert any(o["server"] == ADDRESS and o["yiaddr"].startswith("10.77.0.2") for o in offers)
    assert f"another DHCP server, {DHCP} (52:54:00:77:fe:03), answers on br0" in site.appliance.log()
    reload()
    assert listening()
    with site.stranger("52:54:00:77:66:32") as machine:
        heard = site.pxe(machine, 7, "PXEClient:Arch:00007:UNDI:003000", 4011)
        assert heard["boot server"]["file"] == "snponly.efi"
