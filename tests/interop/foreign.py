"""Other people's DHCP servers on the lab's bridge: dnsmasq, Kea and ISC's, with files for firmware."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.namespace import ADDRESS, BRIDGE, Lab, wait_until

NODE, NODE_ADDRESS = "52:54:00:77:00:00", "10.77.0.20"
FIRST, LAST = "10.77.0.100", "10.77.0.150"
HTTP_PORT = 8080
WEB = f"http://{ADDRESS}:{HTTP_PORT}"
SCRIPT = f"#!ipxe\necho booting ${{net0/mac}}\nkernel {WEB}/vmlinuz quiet\ninitrd {WEB}/initrd.img\nboot\n"
IPXE = Path("/usr/lib/ipxe")


def boot_files(folder: Path) -> Path:
    """The files of a boot service, for TFTP and HTTP."""
    root = folder / "boot"
    root.mkdir(exist_ok=True)
    for name in ("undionly.kpxe", "snponly.efi"):
        shutil.copyfile(IPXE / name, root / name)
    (root / "boot.ipxe").write_text(SCRIPT)
    (root / "vmlinuz").write_bytes(b"kernel" * 100)
    (root / "initrd.img").write_bytes(b"initrd" * 100)
    for path in (folder, root, *root.iterdir()):
        path.chmod(0o755)
    return root


@contextmanager
def running(lab: Lab, command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the lab's namespace, ended at the end."""
    with log.open("wb") as out:
        process = lab.start(command, stdout=out, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def listens(lab: Lab, kind: str, port: int) -> bool:
    """Whether somebody in the lab has a port."""
    return f":{port} " in lab.run("ss", "-Hln" + kind)


@contextmanager
def web(lab: Lab, root: Path) -> Iterator[None]:
    """Python's own HTTP server on the folder."""
    command = [sys.executable, "-m", "http.server", str(HTTP_PORT), "--bind", ADDRESS, "-d", str(root)]
    with running(lab, command, root.parent / "http.log"):
        wait_until("HTTP listens", lambda: listens(lab, "t", HTTP_PORT), 20)
        yield


@contextmanager
def dnsmasq(lab: Lab, folder: Path, *extra: str) -> Iterator[None]:
    """dnsmasq with DHCP and TFTP: m1 reserved, a range of .100 to .150, a file for each firmware."""
    words = [
        "port=0", f"interface={BRIDGE}", "bind-interfaces", "no-ping", f"dhcp-range={FIRST},{LAST},1h",
        f"dhcp-leasefile={folder / 'dnsmasq.leases'}", f"dhcp-host={NODE},{NODE_ADDRESS},m1",
        "dhcp-match=set:bios,option:client-arch,0", "dhcp-match=set:efi,option:client-arch,7",
        "dhcp-userclass=set:ipxe,iPXE", "dhcp-vendorclass=set:http,HTTPClient",
        "dhcp-option=tag:http,option:vendor-class,HTTPClient", f"dhcp-boot=tag:http,{WEB}/snponly.efi",
        f"dhcp-boot=tag:ipxe,{WEB}/boot.ipxe", "dhcp-boot=tag:bios,tag:!ipxe,undionly.kpxe",
        "dhcp-boot=tag:efi,tag:!ipxe,snponly.efi", "enable-tftp", f"tftp-root={folder / 'boot'}",
        "user=root", "group=root", "dhcp-authoritative", *extra,
    ]  # fmt: skip
    command = ["dnsmasq", "-k", "-C", "/dev/null", *(f"--{word}" for word in words)]
    with running(lab, command, folder / "dnsmasq.log"):
        wait_until("dnsmasq listens", lambda: listens(lab, "u", 67), 20)
        yield


def kea_file(folder: Path) -> Path:
    """The same for Kea, without TFTP."""
    classes = [
        {"name": "ipxe", "test": "option[77].hex == 'iPXE'", "boot-file-name": f"{WEB}/boot.ipxe"},
        {"name": "http", "test": "substring(option[60].hex,0,10) == 'HTTPClient'",
         "boot-file-name": f"{WEB}/snponly.efi",
         "option-data": [{"name": "vendor-class-identifier", "data": "HTTPClient", "always-send": True}]},
        {"name": "bios", "test": "not member('ipxe') and option[93].hex == 0x0000",
         "boot-file-name": "undionly.kpxe", "next-server": ADDRESS},
        {"name": "efi", "test": "not member('ipxe') and option[93].hex == 0x0007",
         "boot-file-name": "snponly.efi", "next-server": ADDRESS},
    ]  # fmt: skip
    subnet = {
        "id": 1, "subnet": "10.77.0.0/24", "interface": BRIDGE, "pools": [{"pool": f"{FIRST}-{LAST}"}],
        "option-data": [{"name": "routers", "data": "10.77.0.254"}],
        "reservations": [{"hw-address": NODE, "ip-address": NODE_ADDRESS, "hostname": "m1"}],
    }  # fmt: skip
    content = {
        "interfaces-config": {"interfaces": [BRIDGE], "dhcp-socket-type": "raw"},
        "lease-database": {"type": "memfile", "persist": False},
        "valid-lifetime": 3600, "authoritative": True, "client-classes": classes, "subnet4": [subnet],
        "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    }  # fmt: skip
    path = folder / "kea.json"
    path.write_text(json.dumps({"Dhcp4": content}))
    return path


@contextmanager
def kea(lab: Lab, folder: Path) -> Iterator[None]:
    """Kea's DHCPv4 server, and dnsmasq's TFTP beside it."""
    own = {
        "KEA_PIDFILE_DIR": str(folder),
        "KEA_LOCKFILE_DIR": str(folder),
        "KEA_LOGGER_DESTINATION": "stdout",
    }
    tftp = ["dnsmasq", "-k", "-C", "/dev/null", "--port=0", "--enable-tftp", f"--tftp-root={folder / 'boot'}",
            f"--interface={BRIDGE}", "--bind-interfaces", "--user=root", "--group=root"]  # fmt: skip
    log = folder / "kea.log"
    with (
        running(lab, ["kea-dhcp4", "-c", str(kea_file(folder))], log, **own),
        running(lab, tftp, folder / "t.log"),
    ):
        wait_until("Kea has started", lambda: "DHCP4_STARTED" in log.read_text(), 30)
        wait_until("TFTP listens", lambda: listens(lab, "u", 69), 20)
        yield


ISC = f"""
authoritative;
default-lease-time 3600;
option arch code 93 = unsigned integer 16;
class "ipxe" {{ match if option user-class = "iPXE"; filename "{WEB}/boot.ipxe"; }}
subnet 10.77.0.0 netmask 255.255.255.0 {{ range {FIRST} {LAST}; option routers 10.77.0.254; }}
host m1 {{ hardware ethernet {NODE}; fixed-address {NODE_ADDRESS}; option host-name "m1"; }}
"""


@contextmanager
def dhcpd(lab: Lab, folder: Path) -> Iterator[None]:
    """ISC's server, which MAAS runs."""
    (folder / "dhcpd.conf").write_text(ISC)
    (folder / "dhcpd.leases").touch()
    files = ["-cf", "dhcpd.conf", "-lf", "dhcpd.leases", "-pf", "dhcpd.pid"]
    words = [str(folder / word) if "." in word else word for word in files]
    log = folder / "dhcpd.log"
    with running(lab, ["dhcpd", "-4", "-f", "-d", *words, BRIDGE], log):
        wait_until("ISC's server has started", lambda: "Server starting service" in log.read_text(), 20)
        yield


SERVERS = {"dnsmasq": dnsmasq, "kea": kea, "dhcpd": dhcpd}
PROGRAMS = {"dnsmasq": ("dnsmasq",), "kea": ("kea-dhcp4", "dnsmasq"), "dhcpd": ("dhcpd",)}
"""The servers by name, and what each needs installed."""
