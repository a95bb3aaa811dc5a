"""TFTP through a NAT, as a Kubernetes Service is one: only answers from port 69 find their way back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.namespace import die_with_parent, run

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
CLIENT, OUTSIDE, INSIDE, SERVER = "10.71.1.2", "10.71.1.1", "10.71.2.1", "10.71.2.2"
RULES = f"""
table ip nat {{
    chain pre {{
        type nat hook prerouting priority dstnat
        ip daddr {OUTSIDE} udp dport 69 dnat to {SERVER}:6969
    }}
    chain post {{
        type nat hook postrouting priority srcnat
        ip daddr {SERVER} masquerade
    }}
}}
table ip door {{
    chain forward {{
        type filter hook forward priority filter; policy drop
        ct state established,related accept
        ip daddr {SERVER} udp dport 6969 accept
    }}
}}
"""
"""A Service: its address and port are translated, the client's too (externalTrafficPolicy: Cluster)."""


@dataclass(frozen=True)
class Chain:
    """Three namespaces in a row."""

    client: str
    router: str
    server: str


@pytest.fixture
def chain() -> Iterator[Chain]:
    made = Chain(*(f"tftpnat-{os.getpid()}-{end}" for end in "crs"))
    with ExitStack() as stack:
        for name in (made.client, made.router, made.server):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name, check=False)
            run("ip", "-n", name, "link", "set", "lo", "up")
        join(made.client, CLIENT, made.router, OUTSIDE, "out")
        join(made.server, SERVER, made.router, INSIDE, "in")
        run("ip", "-n", made.server, "route", "add", "default", "via", INSIDE)
        inside(made.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run("ip", "netns", "exec", made.router, "nft", "-f", "-", stdin=RULES)
        yield made


def join(one: str, address: str, other: str, gateway: str, device: str) -> None:
    """A cable between two namespaces."""
    command = [
        "ip",
        "link",
        "add",
        "eth0",
        "netns",
        one,
        "type",
        "veth",
        "peer",
        "name",
        device,
        "netns",
        other,
    ]
    run(*command)
    for namespace, name, own in ((one, "eth0", address), (other, device, gateway)):
        run("ip", "-n", namespace, "address", "add", f"{own}/24", "dev", name)
        run("ip", "-n", namespace, "link", "set", name, "up")


def inside(namespace: str, *command: str) -> str:
    return run("ip", "netns", "exec", namespace, *command)


@contextmanager
def serving(chain: Chain, folder: Path, flags: Sequence[str]) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.tftp.alone", SERVER, "6969", str(folder), *flags]
    process = subprocess.Popen(
        ["ip", "netns", "exec", chain.server, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        assert process.stdout and process.stdout.readline() == b"serving\n"
        yield
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def fetch(chain: Chain, name: str, to: Path, *options: str) -> bytes | None:
    """A file by atftp from the outside address; None where it did not come."""
    chosen = [word for option in options for word in ("--option", option)]
    command = ["atftp", *chosen, "-g", "-r", name, "-l", str(to), OUTSIDE, "69"]
    done = subprocess.run(
        ["timeout", "4", "ip", "netns", "exec", chain.client, *command], capture_output=True, timeout=30
    )
    return to.read_bytes() if done.returncode == 0 and to.exists() else None


@pytest.mark.parametrize("options", [(), ("blksize 1468", "tsize 0"), ("blksize 1468", "windowsize 16")])
def test_one_port_for_all_works_through_a_nat(chain: Chain, tmp_path: Path, options: Sequence[str]) -> None:
    """Two files one after the other and in lockstep or windows: every octet arrives."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_bytes(os.urandom(300_001))
    with serving(chain, folder, ["--single-port"]):
        for name in ("one", "two"):
            got = fetch(chain, name, tmp_path / name, *options)
            assert got == (folder / name).read_bytes()


def test_ports_of_their_own_do_not_pass_a_nat(chain: Chain, tmp_path: Path) -> None:
    """Why the option exists: an answer from another port belongs to no connection that the NAT knows."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "one").write_bytes(os.urandom(3_001))
    with serving(chain, folder, []):
        assert fetch(chain, "one", tmp_path / "one") is None
