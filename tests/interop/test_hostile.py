"""Bad input on the whole running daemon, from outside: refused or answered without secrets, and counted.

One storm of hostile DHCP, TFTP, HTTP and API traffic is sent once; each test looks at one of its effects.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP  # type: ignore[import-untyped]

from tests.boot.identity import Identity, identity
from tests.interop.stranger import Stranger, parse
from tests.lab.appliance import API, Appliance, step
from tests.lab.namespace import ADDRESS, Lab, wait_until
from tests.lab.site import scratch, write_yaml
from tests.proc.house import make_image

pytestmark = pytest.mark.root

NODE, NEW = "52:54:00:77:00:21", "52:54:00:77:66:03"
FOE, LATE = "52:54:00:77:66:01", "52:54:00:77:66:02"
NODE_ADDRESS = "10.77.0.21"
HASH = "$6$canary$Zp0uY3uWq6b1mT8sVxKcJ2dR5nFhL7gEoA9iBtQwXyCzMlNk"
FILES = {"vmlinuz": b"kernel" * 400, "initrd.img": b"initrd" * 400, "root.squashfs": b"squashfs" * 40_000}
SEED = 20_260
RANDOM_PACKETS = 10_000
CAP = 256
"""Connections that one address may hold (server.boot_limits.connections)."""
KIND = re.compile(r"^\S+ (?:warning|error) ([a-z][a-z0-9_]+): ", re.MULTILINE)


@dataclass
class Aftermath:
    """The site after the storm, and what was seen while it raged."""

    appliance: Appliance
    node: Stranger
    foe: Stranger
    late: Stranger
    directory: Path
    identity: Identity
    pids: dict[str, list[int]]
    keys: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    http: dict[str, bytes] = field(default_factory=dict)
    tftp: dict[str, bytes] = field(default_factory=dict)
    api: dict[str, tuple[int, str]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    def status(self, name: str) -> int:
        """The status of one of the HTTP answers, 0 where the connection just ended."""
        return parse(self.http[name])[0]

    def counted(self) -> dict[str, float]:
        """What /metrics says by kind."""
        text = self.appliance.request("GET", "/metrics")[1]
        rows = re.findall(r'^netboot_events_total\{kind="([^"]+)"\} ([0-9.e+]+)$', text, re.MULTILINE)
        return {kind: float(number) for kind, number in rows}


def processes(appliance: Appliance) -> dict[str, list[int]]:
    """Control and its helpers."""
    helpers = {kind: sorted(appliance.helpers(kind)) for kind in ("forker", "bulk", "tftp")}
    return {"control": [appliance.pid], **helpers}


def config(directory: Path) -> dict[str, Any]:
    """A declared node, a catch-all, a secret setting; two workers whatever the machine has."""
    lab = {"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0", "range": "10.77.0.100-10.77.0.160"}
    node = {"name": "m1", "macs": [NODE], "address": NODE_ADDRESS}
    return {
        "server": {
            "data_dir": str(directory / "data"), "images_dir": str(directory / "images"),
            "files_dir": str(directory / "files"), "workers": 2,
        },
        "networks": [lab],
        "clusters": [
            {"name": "alone", "endpoint": "10.77.0.1:6443", "image": "micro", "join": {"method": "none"}}
        ],
        "pools": [
            {"name": "own", "cluster": "alone", "network": "lab", "nodes": [node]},
            {"name": "unknown", "cluster": "alone", "network": "lab", "catch_all": True},
        ],
        "tags": {"all": {"root_password_hash": HASH}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def aftermath() -> Iterator[Aftermath]:
    """The daemon, three machines, and the storm."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        lab = stack.enter_context(Lab())
        (directory / "files").mkdir()
        (directory / "files" / "readme").write_text("anybody may read this\n")
        (directory / "files" / "link").symlink_to(directory / "data" / "admin.token")
        (directory / "files" / "way-out").symlink_to("/etc")
        make_image(directory / "images", FILES, "micro")
        (directory / "identity").mkdir()
        configs = [write_yaml(directory / "netboot.yaml", config(directory))]
        appliance = stack.enter_context(Appliance(lab, configs, directory, directory / "data"))
        cards = {"node": NODE, "foe": FOE, "late": LATE}
        node, foe, late = (
            stack.enter_context(Stranger(lab, name, mac, directory)) for name, mac in cards.items()
        )
        made = Aftermath(
            appliance, node, foe, late, directory, identity(directory / "identity"), processes(appliance)
        )
        before_the_storm(made)
        made.seen["before"] = untouched(made)
        dhcp_storm(made)
        tftp_storm(made)
        http_storm(made)
        keys_storm(made)
        api_storm(made)
        made.seen["after"] = untouched(made)
        slowloris(made)
        yield made


def untouched(made: Aftermath) -> dict[str, Any]:
    """What strangers must not change: the node's boot and its lease."""
    lease = made.appliance.get(f"/api/v1/leases/{NODE_ADDRESS}")
    return {"boot": made.appliance.boot(NODE), "lease": lease}


def before_the_storm(made: Aftermath) -> None:
    """The node boots, claims, is power-cycled and holds a fresh key; the others have leases."""
    assert made.node.boots() == NODE_ADDRESS
    made.keys.append(key_in(made.node.script()[1]))
    status, answer = claim(made, made.node, made.keys[0], NODE)
    assert status == 200, answer
    made.sessions.append(json.loads(answer)["session"])
    assert made.node.boots() == NODE_ADDRESS
    made.keys.append(key_in(made.node.script()[1]))
    assert made.keys[0] != made.keys[1]
    assert made.late.lease() and made.foe.boots()
    made.keys.append(key_in(made.foe.script()[1]))


def key_in(script: str) -> str:
    """The boot key that a script names."""
    found = re.search(r"/boot/([0-9a-f]{32})/seed\.cpio", script)
    assert found, script
    return found[1]


def claim(made: Aftermath, machine: Stranger, key: str, mac: str, uuid: str = "") -> tuple[int, str]:
    """A claim by curl, as the initrd does it."""
    path = made.directory / "claim.json"
    path.write_text(json.dumps({"mac": mac, "uuid": uuid, "certificate": made.identity.pem, "csr": ""}))
    status, _, body = machine.curl(
        f"/boot/{key}/claim" if key else "/boot/claim", "--data-binary", f"@{path}"
    )
    return status, body.decode()


# --- DHCP


def dhcp(*options: Any, **fields: Any) -> bytes:
    """A DISCOVER of the foe as scapy writes it, with these oddities."""
    facts = {"op": 1, "chaddr": bytes.fromhex(FOE.replace(":", "")), "xid": 0x77, **fields}
    return bytes(BOOTP(**facts) / DHCP(options=[*(options or [("message-type", "discover")]), "end"]))


def patched(packet: bytes, at: int, value: bytes) -> bytes:
    """The packet with other bytes at an offset."""
    return packet[:at] + value + packet[at + len(value) :]


def odd_packets() -> dict[str, bytes]:
    """Every oddity by name. Those whose name begins with `malformed` are to be counted as such."""
    good = dhcp()
    loop = bytes([52, 1, 3, 12, 3]) + b"abc" + bytes([52, 1, 3, 255])
    looped = patched(patched(dhcp(("message-type", "discover"), (52, b"\3")), 44, loop), 108, loop)
    victim = bytes.fromhex(NODE.replace(":", ""))
    return {
        **{f"malformed truncated to {n}": good[:n] for n in (0, 1, 100, 236, 239)},
        "malformed cookie": patched(good, 236, b"\x63\x82\x53\x64"),
        "malformed overrun": good[:240] + bytes([53, 1, 1, 12, 200]) + b"short",
        "malformed half an option": good[:240] + bytes([53, 1, 1, 12]),
        "malformed overload 0": dhcp(("message-type", "discover"), (52, b"\0")),
        "malformed overload 7": dhcp(("message-type", "discover"), (52, b"\7")),
        "malformed hlen 17": patched(good, 2, b"\x11"),
        "malformed hlen 255": patched(good, 2, b"\xff"),
        "malformed op 7": patched(good, 0, b"\7"),
        "malformed reply": patched(good, 0, b"\2"),
        "malformed relay information without a relay": dhcp(("message-type", "discover"), (82, b"\1\4evil")),
        "overload loop": looped,
        "hlen 0": patched(good, 2, b"\0"),
        "hlen 16": patched(good, 2, b"\x10"),
        "htype 32": patched(good, 1, b"\x20"),
        "no card": patched(good, 28, bytes(16)),
        "group card": patched(good, 28, b"\xff" * 6),
        **{f"giaddr {a}": dhcp(giaddr=a) for a in ("8.8.8.8", "127.0.0.1", "255.255.255.255", "224.0.0.1")},
        "hops 255": dhcp(hops=255, giaddr="192.0.2.1"),
        "ciaddr everywhere": dhcp(ciaddr="255.255.255.255", yiaddr="1.2.3.4", siaddr="6.7.8.9"),
        "ignored BOOTP": good[:240] + b"\xff",
        **{f"ignored type {t}": dhcp((53, bytes([t]))) for t in (0, 2, 5, 6, 9, 255)},
        "ignored type of two octets": dhcp((53, b"\1\1")),
        "request of the node's address": dhcp(
            ("message-type", "request"), ("server_id", ADDRESS), ("requested_addr", NODE_ADDRESS)
        ),
        "request at another server": dhcp(
            ("message-type", "request"), ("server_id", "192.0.2.9"), ("requested_addr", NODE_ADDRESS)
        ),
        "decline of the node's address": dhcp(
            ("message-type", "decline"), ("server_id", ADDRESS), ("requested_addr", NODE_ADDRESS)
        ),
        "release of the node's address": dhcp(
            ("message-type", "release"), ("server_id", ADDRESS), ciaddr=NODE_ADDRESS
        ),
        "release in the node's name": dhcp(
            ("message-type", "release"), ("server_id", ADDRESS), ciaddr=NODE_ADDRESS, chaddr=victim
        ),
        "decline in the node's name": dhcp(
            ("message-type", "decline"), ("server_id", ADDRESS), ("requested_addr", NODE_ADDRESS),
            chaddr=victim,
        ),
        "long": dhcp(("message-type", "discover"), *[(43, b"x" * 250)] * 30),
        "host name of controls": dhcp(("message-type", "discover"), (12, b"\x1b[2J\r\nforged: line\0")),
        "vendor class of controls": dhcp(("message-type", "discover"), (60, b"PXEClient\n" + b"\xff" * 200)),
    }  # fmt: skip


def random_packets(count: int) -> Iterator[bytes]:
    """Noise, and good messages with a few octets of noise in them; the same ones in every run."""
    rng = random.Random(SEED)
    good = dhcp(("message-type", "discover"), ("hostname", b"m9"), (55, b"\1\3\6\x43"), (93, b"\0\7"))
    for number in range(count):
        if number % 2:
            yield rng.randbytes(rng.randrange(1, 600))
            continue
        packet = bytearray(good)
        for _ in range(rng.randrange(1, 12)):
            packet[rng.randrange(len(packet))] = rng.randrange(256)
        yield bytes(packet)


def dhcp_storm(made: Aftermath) -> None:
    """The oddities, then the random ones, not faster than a busy machine takes them from its socket."""
    before = Counter(made.counted())
    with made.foe.udp(68) as sock:
        for packet in odd_packets().values():
            sock.sendto(packet, (ADDRESS, 67))
        for number, packet in enumerate(random_packets(RANDOM_PACKETS)):
            sock.sendto(packet, (ADDRESS, 67))
            if not number % 50:
                time.sleep(0.02)
    made.seen["dhcp sent"] = RANDOM_PACKETS + len(odd_packets())
    wait_until("DHCP is quiet again", lambda: steady(made), 20, 0.3)
    made.seen["dhcp"] = Counter(made.counted()) - before


def steady(made: Aftermath) -> bool:
    """Whether nothing was counted since the last look."""
    last, made.seen["last"] = made.seen.get("last"), made.counted().get("dhcp_malformed")
    return last == made.seen["last"]


# --- TFTP


def rrq(name: bytes, mode: bytes = b"octet", *options: bytes, opcode: int = 1) -> bytes:
    """A request as bytes."""
    return opcode.to_bytes(2, "big") + b"\0".join([name, mode, *options]) + b"\0"


TFTP_REFUSED = {
    "up": rrq(b"../etc/passwd"),
    "up from below": rrq(b"files/../../etc/passwd"),
    "absolute": rrq(b"/etc/passwd"),
    "two slashes": rrq(b"//etc/passwd"),
    "encoded": rrq(b"%2e%2e/etc/passwd"),
    "encoded twice": rrq(b"%252e%252e%252fetc%252fpasswd"),
    "overlong UTF-8": rrq(b"\xc0\xae\xc0\xae/etc/passwd"),
    "backslashes": rrq(rb"..\..\etc\passwd"),
    "drive": rrq(rb"C:\etc\passwd"),
    "image tree": rrq(b"images/micro/../../data/admin.token"),
    "link": rrq(b"link"),
    "through a link": rrq(b"way-out/passwd"),
    "10 kB": rrq(b"a/" * 5000),
    "700 characters": rrq(b"a" * 700),
    "controls": rrq(b"\x1b[2J\r\nforged: line"),
    "netascii": rrq(b"readme", b"netascii"),
    "mail": rrq(b"readme", b"mail"),
    "write": rrq(b"readme", opcode=2),
    "no name": b"\0\1\0octet\0",
    "no mode": b"\0\1readme\0",
    "no end": b"\0\1readme\0octet",
}
"""What gets an ERROR packet."""
TFTP_UNANSWERED = {
    "opcode 9": b"\0\x09whatever\0octet\0", "opcode 65535": b"\xff\xff\0\0", "empty": b"", "one byte": b"\0",
    "DATA": b"\0\3\0\1spoof", "ACK": b"\0\4\0\1", "ERROR": b"\0\5\0\1no\0", "OACK": b"\0\6blksize\x008\0",
}  # fmt: skip


def tftp_storm(made: Aftermath) -> None:
    """Each request from a socket of its own; then more open transfers than one address may have."""
    for name, packet in {**TFTP_REFUSED, **TFTP_UNANSWERED}.items():
        with made.foe.udp() as sock:
            sock.settimeout(5.0 if name in TFTP_REFUSED else 0.2)
            sock.sendto(packet, (ADDRESS, 69))
            with contextlib.suppress(TimeoutError):
                made.tftp[name] = sock.recv(65536)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(made.foe.udp()) for _ in range(100)]
        for sock in socks:
            sock.sendto(rrq(b"readme", b"octet", b"blksize", b"8"), (ADDRESS, 69))
        made.seen["tftp from elsewhere"] = made.late.tftp("readme", made.directory / "readme")
        for sock in socks:
            sock.sendto(b"\0\5\0\0enough\0", (ADDRESS, 69))


# --- HTTP


def get(target: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A request that ends its connection."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {ADDRESS}", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


CHUNKED = "Transfer-Encoding: chunked"


def http_requests() -> dict[str, bytes]:
    """Every bad request by name."""
    inner = get("/boot.ipxe")
    length = f"Content-Length: {len(inner)}"
    image = f"/images/micro/{'0' * 64}/vmlinuz"
    shape = {
        "garbage": random.Random(SEED).randbytes(4000) + b"\r\n\r\n",
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200) + b"\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9": b"GET /boot.ipxe\r\n\r\n",
        "head of 9 KiB": get("/boot.ipxe", "X-Long: " + "a" * 9216),
        "line of 9 KiB": b"GET /" + b"a" * 9216,
        "200 fields": get("/boot.ipxe", *[f"X-{n}: 1" for n in range(200)]),
        "bare line feeds": b"GET /boot.ipxe HTTP/1.1\nHost: a\n\n",
        "folded": get("/boot.ipxe", "X-A: 1", " folded: 2"),
        "no Host": b"GET /boot.ipxe HTTP/1.1\r\n\r\n",
        "two Hosts": get("/boot.ipxe", "Host: evil.example"),
        "NUL": get("/boot.ipxe", "X-A: \0"),
        "lower case": get("/boot.ipxe", method="get"),
        "chunked": get("/boot.ipxe", CHUNKED, body=b"0\r\n\r\n" + inner),
        "length and chunked": get("/boot/report", length, CHUNKED, method="POST", body=inner),
        "chunked and blank": get("/boot.ipxe", "Transfer-Encoding : chunked", body=b"0\r\n\r\n" + inner),
        "chunked in disguise": get("/boot.ipxe", "Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + inner),
        "two lengths": get("/boot/report", length, "Content-Length: 0", method="POST", body=inner),
        "length list": get("/boot/report", f"{length}, {len(inner)}", method="POST", body=inner),
        "length with sign": get("/boot/report", "Content-Length: +5", method="POST", body=b"abcde"),
        "negative length": get("/boot/report", "Content-Length: -1", method="POST", body=inner),
        "a body for GET": get("/boot.ipxe", length, body=inner),
        "a body for an image": get(image, length, body=inner),
        "CONNECT": get("10.77.0.1:22", method="CONNECT"),
        "TRACE": get("/boot.ipxe", "X-Secret: 1", method="TRACE"),
        "DELETE": get("/files/readme", method="DELETE"),
        "PUT": get("/files/new", "Content-Length: 3", method="PUT", body=b"new"),
        "huge length": get("/boot/report", "Content-Length: 999999999999999999", method="POST"),
        "big report": get("/boot/report", "Content-Length: 5000", method="POST", body=b"x" * 5000),
        "big claim": get("/boot/claim", "Content-Length: 20000", method="POST", body=b"x" * 20000),
        "big log": get("/boot/log", "Content-Length: 70000", method="POST", body=b"x" * 70000),
        "deep claim": get("/boot/claim", "Content-Length: 16000", method="POST", body=b"[" * 16000),
        "claim of NaN": get("/boot/claim", "Content-Length: 11", method="POST", body=b'{"mac":NaN}'),
    }  # fmt: skip
    return {**shape, **{f"path {p}": get(p) for p in PATHS}}


PATHS = (
    "/files/../../etc/passwd", "/files/../data/admin.token", "/files/%2e%2e/data/admin.token",
    "/files/..%2fdata%2fadmin.token", "/files/..%252fdata%252fadmin.token", "/files/..%5cdata%5cadmin.token",
    "/files/link", "/files/way-out/passwd", "/files//etc/passwd", "/files/%00", "/files/readme%00.txt",
    "/files/%c0%ae%c0%ae/data/admin.token", "/files/", "/files/" + "a/" * 1000, "/files/" + "a" * 3000,
    "/images/..%2f", "/images/..%2f..%2fetc%2fpasswd", "/images/micro/../../data/admin.token",
    "/images/micro/latest", "/images/micro/latest/root.squashfs", "/programs/../data/admin.token",
    "/programs/..%2f..%2fetc%2fpasswd",
    "/..", "/../../etc/passwd", "/etc/passwd", "/%", "/%zz", "/boot/../files/../data/secret",
    "/boot/" + "0" * 31 + "/seed.cpio", "/boot/" + "0" * 33 + "/seed.cpio",
    "/boot/" + "A" * 32 + "/seed.cpio",
    "/boot/%30000000000000000000000000000000/seed.cpio", "/api/v1/boots", "/metrics", "/admin.token",
)  # fmt: skip


def http_storm(made: Aftermath) -> None:
    """Each request on a connection of its own, then one connection that asks too fast."""
    for name, raw in http_requests().items():
        made.http[name] = made.foe.http(raw)
    wish = f"GET /boot.ipxe HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n".encode()
    made.http["too fast"] = made.foe.http(wish * 600, patience=5)
    time.sleep(1.1)  # the bucket of the foe's address is full again


def keys_storm(made: Aftermath) -> None:
    """Keys that are used, expired, foreign and invented; sessions that are none; another machine's script."""
    used, fresh, foes = made.keys
    made.seen["foreign script"] = made.foe.script(NODE)
    made.seen["script without MAC"] = made.foe.curl("/ipxe?mac=%24%7Bevil%7D%0aboot&uuid=x")
    seeds = {
        "used": (made.node, used), "foreign": (made.foe, fresh), "from the node": (made.node, foes),
        "invented": (made.foe, "0123456789abcdef" * 2),
    }  # fmt: skip
    for name, (machine, key) in seeds.items():
        made.seen[f"seed {name}"] = machine.curl(f"/boot/{key}/seed.cpio")[0]
        made.seen[f"claim {name}"] = claim(made, machine, key, NODE, "4c4c4544-0042-3510-8054-b4c04f564232")
    made.seen["claim without key"] = claim(made, made.foe, "", NODE)
    made.seen["claim in another's name"] = claim(made, made.foe, foes, NODE)
    made.seen["claim from another's address"] = claim(made, made.late, foes, FOE)
    bad = {"none": "", "odd": "x" * 40, "old": made.sessions[0][:-1] + "-", "foreign": f"{fresh}.{'A' * 43}"}
    for name, secret in bad.items():
        header = ("-H", f"Authorization: Bearer {secret}") if secret else ()
        for path, data in (
            ("/boot/report", '{"step":"join"}'),
            ("/boot/log", "forged"),
            ("/boot/config", ""),
        ):
            body = ("--data-binary", data) if data else ()
            made.seen[f"session {name} {path}"] = made.foe.curl(path, *header, *body)[0]


def slowloris(made: Aftermath) -> None:
    """Hundreds of connections that never ask; meanwhile another machine is served."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(made.foe.tcp()) for _ in range(CAP + 60)]
        for sock in socks[:20]:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET /boot.ipxe HTTP/1.1\r\nX-Slow: ")
        made.seen["another's script during slowloris"] = made.node.script()
        with contextlib.suppress(TimeoutError):  # well before the 10 s after which all silent ones end
            wait_until("the surplus is closed", lambda: sum(map(ended, socks)) >= 60, 5)
        made.seen["left open"] = sum(not ended(sock) for sock in socks)


def ended(sock: socket.socket) -> bool:
    """Whether the other side has closed a connection on which nothing was said."""
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


# --- API


def api_storm(made: Aftermath) -> None:
    """No token, a wrong one, a foreign Host, and things that are no HTTP, many times."""
    ask = made.appliance.request
    wrong = {"Authorization": "Bearer " + "x" * 43}
    for path in ("/api/v1/boots", "/api/v1/nodes", "/metrics", "/api/openapi.json", "/api/v1/events"):
        made.api[f"no token {path}"] = ask("GET", path, token=False)
        made.api[f"wrong token {path}"] = ask("GET", path, token=False, headers=wrong)
        made.api[f"foreign Host {path}"] = ask("GET", path, headers={"Host": "evil.example"})
    made.api["POST"] = ask("POST", "/api/v1/nodes", {"name": "evil"})
    made.api["big"] = ask("POST", "/api/v1/nodes", {"name": "e" * 100_000})
    made.api["up"] = ask("GET", "/api/v1/boots/..%2f..%2fadmin.token")
    for number in range(150):
        with made.appliance.lab.connect(*API) as sock, contextlib.suppress(OSError):
            sock.settimeout(2)
            sock.sendall(random.Random(number).randbytes(300) + b"\r\n\r\n")
            sock.recv(1000)


# --- what came of it


def test_the_daemon_and_every_helper_live_on(aftermath: Aftermath) -> None:
    """The same processes as before, and ready."""
    assert processes(aftermath.appliance) == aftermath.pids
    assert len(aftermath.pids["bulk"]) == 2 and aftermath.pids["tftp"] and aftermath.pids["forker"]
    assert aftermath.appliance.request("GET", "/readyz", token=False)[0] == 200


def test_every_odd_datagram_was_counted(aftermath: Aftermath) -> None:
    """Malformed DHCP, BOOTP and messages that are not for us each have a number in /metrics."""
    counted = aftermath.seen["dhcp"]
    named = [name for name in odd_packets() if name.startswith("malformed")]
    assert counted["dhcp_malformed"] >= len(named) + RANDOM_PACKETS // 2
    assert counted["dhcp_ignored"] >= sum(name.startswith("ignored") for name in odd_packets())
    seen = sum(n for kind, n in counted.items() if kind in ARRIVED or kind.startswith("dhcp_received_"))
    assert seen >= aftermath.seen["dhcp sent"] * 0.99


ARRIVED = {"dhcp_malformed", "dhcp_ignored"}


def test_strange_datagrams_change_no_lease_and_no_boot(aftermath: Aftermath) -> None:
    """RELEASE, DECLINE and REQUEST of somebody else, foreign scripts and keys leave the node's boot alone."""
    before, after = aftermath.seen["before"], aftermath.seen["after"]
    assert after["boot"] == before["boot"]
    assert after["lease"] == before["lease"]


@pytest.mark.parametrize("name", TFTP_REFUSED)
def test_a_bad_tftp_request_gets_an_error(aftermath: Aftermath, name: str) -> None:
    """An ERROR packet, short, plain text, and not a byte of any file."""
    answer = aftermath.tftp[name]
    assert answer[:2] == b"\0\5" and len(answer) < 300, answer
    assert answer[4:-1].isascii() and answer[4:-1].decode().isprintable()


def test_what_is_no_tftp_request_gets_no_answer(aftermath: Aftermath) -> None:
    """Nobody is made to answer a forged source with more than nothing."""
    assert not set(TFTP_UNANSWERED) & set(aftermath.tftp)
    assert aftermath.seen["tftp from elsewhere"] == 0
    assert (aftermath.directory / "readme").read_text() == "anybody may read this\n"


@pytest.mark.parametrize("name", http_requests())
def test_a_bad_http_request_is_refused_once(aftermath: Aftermath, name: str) -> None:
    """One answer (a smuggled second request gets none), a refusal, no content of the host, closed."""
    answer = aftermath.http[name]
    assert len(re.findall(rb"^HTTP/1\.1 \d{3} ", answer, re.MULTILINE)) == 1, answer
    assert 400 <= aftermath.status(name) <= 505
    assert b"root:" not in answer and aftermath.appliance.token().encode() not in answer
    assert len(answer) < 1000


def test_too_many_requests_are_told_to_wait(aftermath: Aftermath) -> None:
    """The first ones are answered, then comes a 429 with Retry-After and the end of the connection."""
    answer = aftermath.http["too fast"]
    assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.1 429") == 1
    assert b"Retry-After: " in answer and answer.count(b"HTTP/1.1 200") <= 450


def test_silent_connections_of_one_address_are_capped(aftermath: Aftermath) -> None:
    """Not more than the limit stay open, and others do not notice."""
    assert CAP / 2 < aftermath.seen["left open"] <= CAP
    status, script = aftermath.seen["another's script during slowloris"]
    assert status == 200 and aftermath.keys[1] in script


def test_the_script_of_another_machine_holds_no_seed(aftermath: Aftermath) -> None:
    """200, because iPXE shows a person nothing else; with the reason, without any key."""
    status, script = aftermath.seen["foreign script"]
    assert status == 200 and script.startswith("#!ipxe")
    assert "is not the address that is leased to" in script
    assert "seed.cpio" not in script and "initrd" not in script and not re.search(r"[0-9a-f]{32}", script)
    status, _, body = aftermath.seen["script without MAC"]
    assert status == 200 and b"evil" not in body and b"seed.cpio" not in body


@pytest.mark.parametrize("which", ["used", "foreign", "from the node", "invented"])
def test_a_key_that_is_not_this_machines_yields_nothing(aftermath: Aftermath, which: str) -> None:
    """Neither its seed nor a session; and all are told the same."""
    assert aftermath.seen[f"seed {which}"] == 404
    status, text = aftermath.seen[f"claim {which}"]
    assert status == 404 and text == aftermath.seen["claim invented"][1]


def test_claims_in_another_machines_name_are_refused(aftermath: Aftermath) -> None:
    """Without a key, and with an own key but another machine's MAC."""
    assert aftermath.seen["claim without key"][0] == 404
    assert aftermath.seen["claim in another's name"][0] == 404
    assert aftermath.seen["claim from another's address"][0] == 404


def test_reports_without_a_session_are_refused(aftermath: Aftermath) -> None:
    """No session, none of ours, a wrong tag, a key instead: 404 for report, log and configuration."""
    found = {name: status for name, status in aftermath.seen.items() if name.startswith("session ")}
    assert len(found) == 12 and set(found.values()) == {404}, found


def test_the_api_answers_nobody_without_token_or_under_a_foreign_name(aftermath: Aftermath) -> None:
    """401, 421, and nothing to read in them."""
    for name, (status, body) in aftermath.api.items():
        if "token" in name.split()[1:2]:
            assert status == 401, name
        elif name.startswith("foreign Host"):
            assert status == 421, name
        else:
            assert status in (404, 405, 413), (name, status)
        assert set(json.loads(body)) == {"status", "reason", "remedy"}, name


COUNTED = {
    "dhcp_malformed", "dhcp_ignored", "dhcp_no_match", "tftp_malformed", "tftp_refused", "tftp_unfinished",
    "http_refused", "http_not_found", "http_too_many_connections", "http_too_many_requests", "script_refused",
    "boot_refused", "api_unauthorized", "api_foreign_host",
}  # fmt: skip


def test_each_kind_was_counted(aftermath: Aftermath) -> None:
    """An operator sees in /metrics what was tried."""
    counted = aftermath.counted()
    assert {kind for kind in COUNTED if not counted.get(kind)} == set()
    assert not [kind for kind in counted if "internal" in kind]


def test_each_kind_was_logged_a_few_times_at_most(aftermath: Aftermath) -> None:
    """Ten thousand refusals are no ten thousand lines; nothing failed inside; no line was forged."""
    log = aftermath.appliance.log()
    lines = Counter(KIND.findall(log))
    assert lines and max(lines.values()) <= 40, lines
    assert len(log.splitlines()) < 400
    assert "Traceback" not in log and "internal_error" not in log
    assert not [line for line in log.splitlines() if line.startswith("forged")]
    assert all(character.isprintable() or character == "\n" for character in log)


def test_no_secret_came_out(aftermath: Aftermath) -> None:
    """The planted hash, the admin's token, whole keys and sessions are in no log, event or answer."""
    ask = aftermath.appliance.request
    paths = ("boots", "nodes", "leases", "pools", "clusters", "images", "events?limit=1000")
    said = {path: ask("GET", f"/api/v1/{path}", headers={"Accept": "application/json"})[1] for path in paths}
    said |= {"metrics": ask("GET", "/metrics")[1], "log": aftermath.appliance.log()}
    said |= {f"HTTP {name}": answer.decode("latin-1") for name, answer in aftermath.http.items()}
    said |= {f"API {name}": text for name, (_, text) in aftermath.api.items()}
    secrets = {"hash": HASH, "hash's digest": HASH.split("$")[3], "admin token": aftermath.appliance.token()}
    secrets |= {f"key {n}": key for n, key in enumerate(aftermath.keys)}
    secrets |= {f"session {n}": s.partition(".")[2] for n, s in enumerate(aftermath.sessions)}
    found = [
        (name, where) for name, secret in secrets.items() for where, text in said.items() if secret in text
    ]
    assert found == []
    assert aftermath.keys[0][:6] + "..." in said["log"] or "was used already" in said["log"]


def test_a_newcomer_is_served_at_once(aftermath: Aftermath) -> None:
    """A machine that nobody has seen before gets an address, and a file by TFTP and HTTP."""
    target = aftermath.directory / "again"
    with Stranger(aftermath.appliance.lab, "new", NEW, aftermath.directory) as new:
        assert new.lease(tries=2) not in ("", aftermath.late.address, aftermath.foe.address)
        assert new.tftp("readme", target) == 0 and target.read_text() == "anybody may read this\n"
        squashfs = re.search(r"netboot\.squashfs=http://[0-9.]+(\S+)", aftermath.node.script()[1])
        assert squashfs and new.curl(squashfs[1])[2] == FILES["root.squashfs"]


def test_the_node_goes_on_with_its_boot(aftermath: Aftermath) -> None:
    """Seed, claim, configuration and report: the boot that strangers tried to take ends as joined."""
    assert aftermath.node.curl(f"/boot/{aftermath.keys[1]}/seed.cpio")[0] == 200
    status, answer = claim(aftermath, aftermath.node, aftermath.keys[1], NODE)
    assert status == 200
    bearer = ("-H", f"Authorization: Bearer {json.loads(answer)['session']}")
    status, _, sealed = aftermath.node.curl("/boot/config", *bearer)
    assert status == 200 and HASH.encode() in aftermath.identity.open(sealed)
    report = json.dumps({"step": "join", "detail": "none"})
    assert aftermath.node.curl("/boot/report", *bearer, "--data-binary", report)[0] == 204
    boot = aftermath.appliance.boot(NODE)
    assert boot and boot["state"] == "joined" and step(boot, "claim")
