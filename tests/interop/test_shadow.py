"""Shadow mode beside real servers and real clients, and its silence."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netboot.cli import main
from tests.interop.foreign import NODE, NODE_ADDRESS, PROGRAMS, SERVERS, boot_files, dnsmasq, running
from tests.interop.stranger import IPXE, Stranger
from tests.interop.test_dhcp_clients import need
from tests.lab.appliance import ROOT, environment
from tests.lab.namespace import ADDRESS, BRIDGE, Lab, enter, wait_until
from tests.lab.site import scratch

pytestmark = pytest.mark.root

GUEST = "52:54:00:99:00:01"
SERVER_MAC = "52:54:00:77:ff:01"
CONFIG = """
networks:
  - {name: lab, subnet: 10.77.0.0/24, interface: br0, range: 10.77.0.100-10.77.0.150, gateway: 10.77.0.254}
clusters: [{name: blue, endpoint: "10.77.0.1:6443", join: {method: none}}]
pools:
  - {name: compute, cluster: blue, network: lab,
     nodes: [{name: m1, macs: ["52:54:00:77:00:00"], address: 10.77.0.20}]}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with an operator's file that every account may read."""
    with scratch() as made:
        boot_files(made)
        (made / "netboot.yaml").write_text(CONFIG)
        (made / "netboot.yaml").chmod(0o644)
        yield made


class Observer:
    """`netboot serve --observe` on the bridge."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def lines(self) -> list[dict[str, Any]]:
        """What it said so far."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def findings(self, mac: str) -> list[dict[str, Any]]:
        """The exchanges of one card."""
        return [line for line in self.lines() if line.get("mac") == mac]

    def wait(self, mac: str, count: int = 1) -> list[dict[str, Any]]:
        """So many exchanges of one card."""
        wait_until(f"{count} findings of {mac}", lambda: len(self.findings(mac)) >= count, 30)
        return self.findings(mac)

    def stop(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """End it as an operator does; its summary."""
        self.process.send_signal(number)
        assert self.process.wait(20) == 0, self._log.read_text()
        return dict(self.lines()[-1]["summary"])


@contextmanager
def observing(lab: Lab, folder: Path, *extra: str) -> Iterator[Observer]:
    """Shadow mode, listening."""
    log = folder / "observer.log"
    command = [
        sys.executable,
        "-m",
        "netboot",
        "serve",
        "--observe",
        "--config",
        str(folder / "netboot.yaml"),
    ]
    with running(lab, [*command, "-o", "json", *extra], log, **environment()) as process:
        wait_until("it listens", lambda: process.poll() is not None or "opened" in log.read_text(), 20)
        assert process.poll() is None, log.read_text()
        yield Observer(process, log)


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("server", SERVERS)
def test_it_shows_the_difference_beside_a_real_server_and_proposes_nodes(
    server: str, lab: Lab, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """udhcpc and dhclient take leases from the other server while we look on; the proposal passes `check`."""
    need("dhclient", *PROGRAMS[server])
    found = folder / "found.yaml"
    with (
        SERVERS[server](lab, folder),
        observing(lab, folder, "--propose", str(found)) as observer,
        Stranger(lab, "m1", NODE, tmp_path) as node,
        Stranger(lab, "guest", GUEST, tmp_path) as guest,
    ):
        assert node.lease(*IPXE) == NODE_ADDRESS
        (firmware,) = observer.wait(NODE)
        assert (firmware["name"], firmware["verdict"]) == ("m1", "differs")
        boots = {d["what"]: (d["theirs"], d["ours"]) for d in firmware["differences"]}
        assert boots["boot file"] == (f"http://{ADDRESS}:8080/boot.ipxe", f"http://{ADDRESS}/boot.ipxe")
        assert "address" not in boots
        base = ["-1", "-sf", "/bin/true", "-lf", str(tmp_path / "l"), "-pf", str(tmp_path / "p")]
        assert guest.run("dhclient", *base, "eth0").returncode == 0
        wait_until(
            "dhclient wrote its pid", lambda: (tmp_path / "p").exists() and (tmp_path / "p").read_text(), 20
        )
        os.kill(int((tmp_path / "p").read_text()), signal.SIGKILL)
        (system,) = observer.wait(GUEST)
        assert (system["verdict"], system["declared"]) == ("unknown", False)
        summary = observer.stop()
    assert summary["machines"] == {"agrees": 0, "unanswered": 0, "unknown": 1, "differs": 1}
    assert summary["servers"] == {ADDRESS: 2}
    assert f"macs: [{GUEST}]" in found.read_text() and "dynamic in network lab" in found.read_text()
    assert main(["check", "--config", str(folder / "netboot.yaml"), "--config", str(found)]) == 0


def test_a_dynamic_address_agrees_and_a_renewal_after_a_restart_too(
    lab: Lab, folder: Path, tmp_path: Path
) -> None:
    """With a catch-all pool a guest is dynamic here as there, also when we begin to look in its midst."""
    need("dnsmasq")
    config = folder / "netboot.yaml"
    config.write_text(CONFIG + "  - {name: guests, cluster: blue, network: lab, catch_all: true}\n")
    said = ("dhcp-option=option:router,10.77.0.254",)
    with dnsmasq(lab, folder, *said), Stranger(lab, "guest", GUEST, tmp_path) as guest:
        with observing(lab, folder) as observer:
            address = guest.lease("-O", "router", "-o")
            (first,) = observer.wait(GUEST)
            assert first["dynamic"] and {t["ours"]["address"] for t in first["turns"]} == {address}
            assert not {"address", "answer"} & {d["what"] for d in first["differences"]}
            observer.stop(signal.SIGINT)
        with observing(lab, folder) as observer:
            assert guest.lease("-r", address) == address
            (again,) = observer.wait(GUEST)
            assert again["turns"][-1]["ours"] == {
                **again["turns"][-1]["ours"],
                "kind": "ACK",
                "address": address,
            }


def test_a_relayed_exchange_is_seen_with_its_relay_agent(lab: Lab, folder: Path, tmp_path: Path) -> None:
    """Unicast between relay agent and server, on the server's own host; dynamic here as there."""
    need("dnsmasq")
    (folder / "netboot.yaml").write_text(
        CONFIG + "  - {name: guests, cluster: blue, network: lab, catch_all: true}\n"
    )
    relay = ["--relay", "10.77.0.9", "--server", ADDRESS, "--as", "relayed", "--mac", GUEST, "--request"]
    with (
        dnsmasq(lab, folder),
        Stranger(lab, "relay", "52:54:00:77:aa:01", tmp_path) as host,
        observing(lab, folder) as observer,
    ):
        host.run("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
        done = host.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "netboot", "probe", *relay)
        assert done.returncode == 0, done.stdout
        (found,) = observer.wait(GUEST)
    assert (found["giaddr"], found["network"], found["dynamic"]) == ("10.77.0.9", "lab", True)
    assert [turn["ours"]["kind"] for turn in found["turns"]] == ["OFFER", "ACK"]
    assert len({t[side]["address"] for t in found["turns"] for side in ("ours", "theirs")}) == 1


def frames_from(name: str, source: bytes, work: Any) -> list[bytes]:
    """IPv4 and ARP frames of one card that arrive in a namespace while `work` goes on."""
    from concurrent.futures import ThreadPoolExecutor

    def opened() -> socket.socket:
        enter(name)
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))

    with ThreadPoolExecutor(1) as thread:
        ear = thread.submit(opened).result(20)
    with ear:
        ear.bind(("eth0", 3))
        work()
        heard = []
        while True:
            try:
                heard.append(ear.recv(65536))
            except BlockingIOError:
                return [f for f in heard if f[6:12] == source and _is_somebodys(f)]


def _is_somebodys(frame: bytes) -> bool:
    """ARP and IPv4, but for the reports of groups that the kernel of a bridge sends by itself (IGMP)."""
    return frame[12:14] == b"\x08\x06" or (frame[12:14] == b"\x08\x00" and frame[23] != socket.IPPROTO_IGMP)


def test_nothing_ever_leaves(lab: Lab, folder: Path, tmp_path: Path) -> None:
    """With no other server on the link a declared machine hears nothing, though we would have answered.

    The process binds no port and holds no capability.
    """
    seen: list[str] = []

    def work() -> None:
        node.lease(*IPXE, tries=2)
        seen.append(_status(observer.process.pid))
        seen.append(lab.run("ss", "-Hlntu").strip())
        observer.stop()  # it has decided on every exchange by then

    with Stranger(lab, "m1", NODE, tmp_path) as node, observing(lab, folder) as observer:
        lab.ip(f"link set {BRIDGE} address {SERVER_MAC}")
        heard = frames_from(node.name, bytes.fromhex(SERVER_MAC.replace(":", "")), work)
        assert not heard, heard
        (found,) = observer.findings(NODE)
    assert found["turns"][0]["ours"]["kind"] == "OFFER" and found["verdict"] == "unanswered"
    status, listening = seen
    assert "CapEff:\t0000000000000000" in status and "CapPrm:\t0000000000000000" in status
    assert not listening and "Uid:\t0" not in status


@pytest.mark.parametrize("server", SERVERS)
def test_a_capture_of_a_real_exchange_says_the_same(
    server: str, lab: Lab, folder: Path, tmp_path: Path
) -> None:
    """tcpdump records another server and a client; `explain --pcap` finds what `serve --observe` finds."""
    need("tcpdump", *PROGRAMS[server])
    capture = folder / "talk.pcap"
    command = ["tcpdump", "-i", "any", "-U", "-w", str(capture), "udp"]
    with SERVERS[server](lab, folder), Stranger(lab, "m1", NODE, tmp_path) as node:
        with running(lab, command, folder / "tcpdump.log"):
            wait_until("tcpdump listens", lambda: capture.exists() and capture.stat().st_size, 20)
            assert node.lease(*IPXE) == NODE_ADDRESS
            wait_until("it is recorded", lambda: capture.stat().st_size > 1500, 20)
        words = ["explain", "--pcap", str(capture), "--config", str(folder / "netboot.yaml"), "-o", "json"]
        done = lab.run(sys.executable, "-m", "netboot", *words)
    lines = [json.loads(line) for line in done.splitlines()]
    found = [line for line in lines if line.get("mac") == NODE]
    assert found and {line["name"] for line in found} == {"m1"}
    assert {line["turns"][-1]["theirs"]["address"] for line in found} == {NODE_ADDRESS}
    assert list(lines[-1]["summary"]["servers"]) == [ADDRESS]
