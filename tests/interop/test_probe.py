"""`netboot probe` with all its clients against dnsmasq, Kea and our own server, each on the lab's bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.foreign import (
    FIRST,
    LAST,
    NODE,
    NODE_ADDRESS,
    PROGRAMS,
    SERVERS,
    boot_files,
    listens,
    running,
    web,
)
from tests.interop.stranger import Stranger
from tests.interop.test_dhcp_clients import need
from tests.lab.appliance import Appliance, environment
from tests.lab.namespace import ADDRESS, BRIDGE, Lab, wait_until
from tests.lab.site import scratch, write_yaml

pytestmark = pytest.mark.root

PROBING = "52:54:00:77:aa:01"
HERE = "10.77.0.9"
ALL = ("bios", "uefi", "uefi-http", "ipxe", "system")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a boot service's files."""
    with scratch() as made:
        boot_files(made)
        yield made


@pytest.fixture
def host(lab: Lab, tmp_path: Path) -> Iterator[Stranger]:
    """The operator's host on the same link, with an address of its own."""
    with Stranger(lab, "op", PROBING, tmp_path) as made:
        assert not made.run("ip", "addr", "add", f"{HERE}/24", "dev", "eth0").returncode
        yield made


def probe(host: Stranger, *words: str) -> tuple[int, str]:
    """Run it; exit status and output."""
    command = ["ip", "netns", "exec", host.name, sys.executable, "-m", "netboot", "probe", *words]
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def verdicts(host: Stranger, *words: str) -> dict[str, Any]:
    """What it says of each client."""
    status, said = probe(host, "--timeout", "6", "-o", "json", *words)
    found = json.loads(said)
    assert status == (0 if found["boots"] else 1)
    return {client["as"]: client for client in found["clients"]}


def shown(found: dict[str, Any]) -> str:
    """For a failure's message."""
    return json.dumps(found, indent=1)


@pytest.mark.parametrize("server", ["dnsmasq", "kea"])
def test_every_client_boots_from_a_foreign_server(
    server: str, lab: Lab, folder: Path, host: Stranger
) -> None:
    """Address, boot program, URL and script of each kind of firmware, all loaded; the address is its own."""
    need(*PROGRAMS[server])
    with ExitStack() as stack:
        stack.enter_context(web(lab, folder / "boot"))
        stack.enter_context(SERVERS[server](lab, folder))
        found = verdicts(host, "--interface", "eth0", "--mac", NODE)
        assert {name: c["boots"] for name, c in found.items()} == dict.fromkeys(ALL, True), shown(found)
        for client in found.values():
            assert f"{ADDRESS} gives {NODE_ADDRESS}" in client["steps"][0]["text"], shown(found)
        assert "undionly.kpxe" in found["bios"]["verdict"] and "snponly.efi" in found["uefi"]["verdict"]
        assert [s["step"] for s in found["ipxe"]["steps"]] == ["offer", "program", "script", "file", "file"]
        (folder / "boot" / "initrd.img").unlink()
        (folder / "boot" / "undionly.kpxe").unlink()
        found = verdicts(host, "--interface", "eth0", "--as", "bios", "--as", "ipxe")
        assert "cannot load tftp://10.77.0.1/undionly.kpxe" in found["bios"]["verdict"], shown(found)
        assert "initrd.img, which cannot be had" in found["ipxe"]["verdict"], shown(found)


def own_file(folder: Path, **network: Any) -> Path:
    """An operator's file of ours: m1 declared, a catch-all for others."""
    (folder / "images").mkdir()
    lab = {"name": "lab", "subnet": "10.77.0.0/24", "interface": BRIDGE, "range": "10.77.0.100-10.77.0.150"}
    node = {"name": "m1", "macs": [NODE], "address": NODE_ADDRESS}
    content = {
        "server": {"data_dir": str(folder / "data"), "images_dir": str(folder / "images")},
        "networks": [{**lab, **network}],
        "clusters": [{"name": "blue", "endpoint": "10.77.0.1:6443", "join": {"method": "none"}}],
        "pools": [
            {"name": "compute", "cluster": "blue", "network": "lab", "nodes": [node]},
            *([] if network.get("mode") == "proxy" else [
                {"name": "unknown", "cluster": "blue", "network": "lab", "catch_all": True}
            ]),
        ],
    }  # fmt: skip
    return write_yaml(folder / "netboot.yaml", content)


def leases(appliance: Appliance) -> set[str]:
    """The addresses that ours remembers as leased."""
    status, body = appliance.request("GET", "/api/v1/leases")
    assert status == 200
    found = body if isinstance(body, dict) else json.loads(body)
    return {lease["address"] for lease in found["items"]}


def test_every_client_boots_from_ours_and_a_probe_takes_no_lease(
    lab: Lab, folder: Path, host: Stranger
) -> None:
    """On the link and through a relay agent; with --request the address is acknowledged, too."""
    config = own_file(folder)
    with Appliance(lab, [config], folder, folder / "data") as appliance:
        relayed = ("--relay", HERE, "--server", ADDRESS)
        found = verdicts(host, "--interface", "eth0", "--mac", NODE, *relayed)
        assert {n: c["boots"] for n, c in found.items()} == dict.fromkeys((*ALL, "relayed"), True), shown(
            found
        )
        for name, client in found.items():  # one card is at one place: the relayed client is a stranger
            given = "10.77.0.1" if name == "relayed" else NODE_ADDRESS
            assert f"{ADDRESS} gives {given}" in client["steps"][0]["text"], shown(found)
        assert "only the leased address" in found["ipxe"]["verdict"], shown(found)
        assert leases(appliance) == set()
        found = verdicts(host, "--mac", "52:54:00:77:00:01", *relayed)
        assert all(c["boots"] for c in found.values()), shown(found)
        found = verdicts(host, "--interface", "eth0", "--mac", NODE, "--as", "uefi", "--request")
        assert [s["step"] for s in found["uefi"]["steps"]] == ["offer", "ack", "program", "release"], shown(
            found
        )
        assert leases(appliance) == {NODE_ADDRESS}


@contextmanager
def giving_addresses(lab: Lab, folder: Path) -> Iterator[str]:
    """dnsmasq on a host of its own that gives addresses and nothing to boot; its address."""
    words = ["port=0", "interface=eth0", "bind-interfaces", "no-ping", f"dhcp-range={FIRST},{LAST},1h",
             "user=root", "group=root", f"dhcp-leasefile={folder / 'plain.leases'}"]  # fmt: skip
    with Stranger(lab, "dhcp", "52:54:00:77:bb:01", folder) as host:
        host.run("ip", "addr", "add", "10.77.0.5/24", "dev", "eth0")
        command = ["ip", "netns", "exec", host.name, "dnsmasq", "-k", "-C", "/dev/null"]
        command += [f"--{word}" for word in words]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until("it listens", lambda: b":67 " in host.run("ss", "-Hlnu").stdout, 20)
                yield "10.77.0.5"
            finally:
                process.terminate()


def test_a_foreign_proxy_beside_another_server_completes_its_offer(
    lab: Lab, folder: Path, host: Stranger
) -> None:
    """One dnsmasq gives the address and no file, another one sends firmware to port 4011 for one."""
    need("dnsmasq")
    words = ["port=0", f"interface={BRIDGE}", "bind-interfaces", "no-ping", "dhcp-range=10.77.0.0,proxy",
             "pxe-service=X86-64_EFI,boot,snponly.efi", "enable-tftp", f"tftp-root={folder / 'boot'}",
             "user=root", "group=root", f"dhcp-leasefile={folder / 'proxy.leases'}"]  # fmt: skip
    command = ["dnsmasq", "-k", "-C", "/dev/null", *(f"--{word}" for word in words)]
    with giving_addresses(lab, folder) as other, running(lab, command, folder / "proxy.log"):
        wait_until("the proxy listens", lambda: listens(lab, "u", 4011), 20)
        found = verdicts(host, "--interface", "eth0", "--as", "uefi")["uefi"]
    assert found["boots"], shown(found)
    said = {s["step"]: s["text"] for s in found["steps"]}
    assert f"{ADDRESS}:4011 names" in said["boot server"] and "snponly.efi" in said["program"], shown(found)
    assert {s["text"].split()[0] for s in found["steps"] if s["step"] == "offer"} == {ADDRESS, other}


def test_our_own_proxy_beside_another_server_boots_every_firmware(
    lab: Lab, folder: Path, host: Stranger
) -> None:
    """Addresses from dnsmasq, everything to boot from us."""
    need("dnsmasq")
    config = own_file(folder, mode="proxy", range=[])
    with giving_addresses(lab, folder) as other, Appliance(lab, [config], folder, folder / "data"):
        found = verdicts(host, "--interface", "eth0", "--mac", NODE)
    assert {n: c["boots"] for n, c in found.items()} == dict.fromkeys(ALL, True), shown(found)
    for name, client in found.items():
        servers = {s["text"].split()[0] for s in client["steps"] if s["step"] == "offer"}
        assert servers == ({other} if name == "system" else {other, ADDRESS}), shown(found)


def test_silence_is_told_with_its_reason_and_status_one(host: Stranger) -> None:
    """No server at all."""
    status, said = probe(host, "--interface", "eth0", "--as", "system", "--timeout", "0.5")
    assert status == 1 and "no OFFER within 0.5 s" in said and "does not boot: no server offers" in said


def test_what_keeps_a_probe_from_trying_is_status_two_with_a_remedy(host: Stranger) -> None:
    """No such interface, an address that is not ours, no capability."""
    for words, remedy in (
        (("--interface", "eth7"), "there is no interface eth7"),
        (("--relay", "10.99.0.1", "--server", ADDRESS), "name an address of this host"),
    ):
        status, said = probe(host, *words)
        assert status == 2 and remedy in said, said
    bare = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    code = "from netboot.link import Ear\nEar('eth0')"
    done = host.run(*bare, sys.executable, "-c", code)
    assert done.returncode and b"CAP_NET_RAW. Start as root" in done.stdout, done.stdout
