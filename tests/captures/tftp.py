"""What real TFTP clients ask: their requests, recorded from the clients themselves.

`scripts/captures --tftp` records them anew (root, QEMU, about three minutes): programs of this host and boot
loaders in virtual machines, each against our own appliance, `tcpdump` beside them. `docs/tftp-clients.md`
is made of these records.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scapy.all import UDP, PcapReader  # type: ignore[attr-defined]

from netboot.errors import MalformedPacket
from netboot.tftp.wire import Request, parse

FOLDER = Path(__file__).parent / "tftp"
VERSIONS = FOLDER / "versions.json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which a client asks: its record, and which of the names in there are its own."""

    client: str
    record: str
    names: str = ".*"
    note: str = ""


KINDS = (
    Kind("EDK2 PXE", "secure-boot", r"shimx64\.efi", "first asks for the size and aborts with error 8"),
    Kind("shim", "secure-boot", r"(?i).*(grubx64|revocations|shim_certificate).*", "EDK2's own client"),
    Kind("GRUB (grubnet, signed)", "secure-boot", r".*(grub\.cfg|images/|\.lst|\.mod|\.pf2|locale).*"),
    Kind("iPXE", "pxelinux", r"lpxelinux\.0"),
    Kind("lpxelinux", "pxelinux", r".*(ldlinux|pxelinux\.cfg|images/).*"),
    Kind("busybox tftp", "busybox"),
    Kind("busybox tftp -b 1432", "busybox-b"),
    Kind("curl", "curl"),
    Kind("curl --tftp-no-options", "curl-plain"),
    Kind("atftp", "atftp"),
    Kind("atftp with all options", "atftp-options"),
    Kind("tftp-hpa", "tftp-hpa"),
    Kind("tftpy", "tftpy"),
    Kind("tftpy with options", "tftpy-options"),
)


def requests(kind: Kind) -> list[Request]:
    """The different requests of a client, in the order of their first appearance."""
    found: dict[tuple[tuple[str, str], ...], Request] = {}
    for request in _all_requests(kind.record):
        if re.fullmatch(kind.names, request.name.replace("\\", "/")):
            found.setdefault(tuple(request.options.items()), request)
    return list(found.values())


def _all_requests(record: str) -> Iterator[Request]:
    with PcapReader(str(FOLDER / f"{record}.pcap")) as reader:
        for frame in reader:
            if UDP not in frame:
                continue
            try:
                packet = parse(bytes(frame[UDP].payload))
            except MalformedPacket:
                continue
            if isinstance(packet, Request):
                yield packet


def versions() -> Mapping[str, str]:
    """The version of each client when it was recorded, by record or client."""
    known: Mapping[str, str] = json.loads(VERSIONS.read_text())
    return known


# recording


def main() -> None:
    """Record every client anew."""
    from tests.lab import images  # what needs QEMU and root is loaded for recording only
    from tests.lab.site import mac_of, micro_config, running_site, scratch

    FOLDER.mkdir(exist_ok=True)
    with scratch() as directory:
        images.build(directory / "images", micro=True)
        secrets = {"root_password_hash": "*", "file": "none"}
        with running_site(directory, lambda d, k: micro_config(d, k, secrets)) as site:
            for record, command in _commands(site.lab.prefix).items():
                with recording(site.lab.prefix, record):
                    subprocess.run(command, timeout=30, check=True, stdout=subprocess.DEVNULL)
            for role, firmware, record in (
                ("secure", "efi-secure", "secure-boot"),
                ("pxelinux", "pxelinux", "pxelinux"),
            ):
                with (
                    recording(site.lab.prefix, record),
                    site.machine(role, firmware=firmware, memory=1024) as machine,
                ):
                    site.wait_joined(machine, mac_of(role))
    VERSIONS.write_text(json.dumps(_versions(), indent=1, sort_keys=True) + "\n")
    print(f"recorded {len(list(FOLDER.glob('*.pcap')))} clients; now write the page: scripts/docs")


def _commands(prefix: Sequence[str]) -> dict[str, list[str]]:
    """The programs of this host, each fetching a boot program from the appliance."""
    server, name = "10.77.0.1", "undionly.kpxe"
    options = ("blksize 1432", "tsize 0", "timeout 3", "windowsize 8")
    atftp = ["atftp", "-g", "-r", name, "-l", "/dev/null", server]
    tftpy = "import tftpy; tftpy.TftpClient({!r}, 69, {}).download({!r}, '/dev/null')"
    busybox = ["busybox", "tftp", "-g", "-r", name, "-l", "/dev/null"]
    curl = ["curl", "-s", "-o", "/dev/null", f"tftp://{server}/{name}"]
    python = ".venv/bin/python"
    made = {
        "busybox": [*busybox, server],
        "busybox-b": [*busybox, "-b", "1432", server],
        "curl": curl,
        "curl-plain": [*curl, "--tftp-no-options"],
        "atftp": atftp,
        "atftp-options": [atftp[0], *(w for o in options for w in ("--option", o)), *atftp[1:]],
        "tftp-hpa": ["tftp", "-m", "binary", server, "-c", "get", name, "/dev/null"],
        "tftpy": [python, "-c", tftpy.format(server, {}, name)],
        "tftpy-options": [python, "-c", tftpy.format(server, {"blksize": 1468, "tsize": 0}, name)],
    }
    return {record: [*prefix, *command] for record, command in made.items()}


@contextmanager
def recording(prefix: Sequence[str], record: str) -> Iterator[None]:
    """tcpdump of all requests in the namespace while the `with` lasts."""
    target = FOLDER / f"{record}.pcap"
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.pcap"
        words = [*prefix, "tcpdump", "-i", "any", "-U", "-n", "--immediate-mode", "-w", str(raw)]
        with subprocess.Popen([*words, "udp dst port 69"], stderr=subprocess.DEVNULL) as tcpdump:
            try:
                until = time.monotonic() + 10
                while not raw.exists() and time.monotonic() < until:
                    time.sleep(0.05)
                time.sleep(0.3)
                yield
                time.sleep(0.3)
            finally:
                tcpdump.send_signal(signal.SIGINT)
        target.write_bytes(raw.read_bytes())


_ASKED = {
    "busybox": (["busybox"], r"v([\d.]+)"),
    "curl": (["curl", "--version"], r"curl ([\d.]+)"),
    "atftp": (["atftp", "--version"], r"atftp-([\d.]+)"),
    "tftp-hpa": (["tftp", "-V"], r"tftp-hpa ([\d.]+)"),
    "tftpy": ([".venv/bin/python", "-c", "import tftpy; print(tftpy.__version__)"], r"([\d.]+)"),
}
_PACKAGES = {
    "EDK2 PXE": "ovmf",
    "shim": "shim-signed",
    "GRUB (grubnet, signed)": "grub-efi-amd64-signed",
    "iPXE": "ipxe",
    "lpxelinux": "pxelinux",
}


def _versions() -> dict[str, str]:
    found = {}
    for client, (command, pattern) in _ASKED.items():
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        match = re.search(pattern, said.stdout + said.stderr)
        found[client] = match[1] if match else "unknown"
    for client, package in _PACKAGES.items():
        command = ["dpkg-query", "-W", "-f", "${Version}", package]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        found[client] = f"{said.stdout.strip()} (Debian)" if said.stdout else "unknown"
    return found


if __name__ == "__main__":
    main()
