"""The routes. Each function tries one and returns what it got; an empty text where it got nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from tests.interop.stranger import Stranger
from tests.lab.appliance import API
from tests.lab.namespace import ADDRESS
from tests.theft.scene import ADDRESSES, CARDS, OFF, OUTSIDE, Run, Scene

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""What takes every right from the program that follows."""
AGENT = "10.77.0.9"
"""An address of no machine, as a relay agent may have it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One route, and the guard that keeps it shut (`guards` switches it off)."""

    name: str
    guard: str
    """Its names, where two of them do."""
    attempt: Callable[[Scene], str]
    alarm: str = ""
    """What the log tells the operator of it, as an expression; empty where nobody needs to be woken up."""
    later: bool = False
    """More than an hour after the boot began."""


def guessed_key(scene: Scene) -> str:
    """A key of the right shape, asked for from the victim's own address while it boots."""
    assert scene.opens(scene.victim)
    return "the seed" if scene.seed(scene.victim, secrets.token_hex(16)) else ""


def replayed_key(scene: Scene) -> str:
    """The victim's key once more, from its own address, after the victim has claimed."""
    key = scene.opens(scene.victim)
    assert scene.claim(scene.victim, key)
    return "a session" if scene.seed(scene.victim, key) or scene.claim(scene.victim, key) else ""


def claims_at_once(scene: Scene) -> str:
    """Several claims with one key in the same instant, from the victim's address: each by another machine."""
    claims = [scene.claim_request(scene.victim, key) for key in [scene.opens(scene.victim)] * 8]
    with ExitStack() as stack:
        open_ones = [stack.enter_context(scene.victim.tcp()) for _ in claims]
        for connection, claim in zip(open_ones, claims, strict=True):
            connection.sendall(claim[:-1])
        for connection, claim in zip(open_ones, claims, strict=True):
            connection.sendall(claim[-1:])
        answers = [connection.recv(64) for connection in open_ones]
    won = sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert won, answers
    return "a session" if won > 1 else ""


def expired_key(scene: Scene) -> str:
    """The key of a boot that began more than an hour ago, from the victim's own address."""
    key = (scene.directory / "old-key").read_text()
    assert key
    return "a session" if scene.seed(scene.victim, key) or scene.claim(scene.victim, key) else ""


def foreign_address(scene: Scene) -> str:
    """The victim's real key, from the thief's own address, and as a proxy that asks for the victim."""
    key = scene.opens(scene.victim)
    assert key
    victim = ADDRESSES["m1"]
    proxied = (
        "-H",
        f"X-Forwarded-For: {victim}",
        "-H",
        f"Forwarded: for={victim}",
        "-H",
        f"X-Real-IP: {victim}",
    )
    if scene.seed(scene.thief, key) or scene.thief.curl(f"/boot/{key}/seed.cpio", *proxied)[0] == 200:
        return "the seed"
    return "a session" if scene.claim(scene.thief, key, CARDS["m1"]) else ""


def spoofed_while_up(scene: Scene) -> str:
    """The victim is a Ready node; a machine with its MAC address boots as it."""
    scene.kube.control("living_node", name="m1", every=0.2, system_uuid="up", boot_id="up")
    try:
        with scene.ghost() as ghost:
            return token_for(scene, scene.claim(ghost, scene.opens(ghost)), ghost)
    finally:
        scene.leaves("m1")


def spoofed_while_off(scene: Scene) -> str:
    """The victim is off, and declared with its UUID; a machine with its MAC address boots as it."""
    with scene.ghost(OFF["macs"][0]) as ghost:
        return token_for(scene, scene.claim(ghost, scene.opens(ghost)), ghost)


def token_for(scene: Scene, session: str, machine: Stranger) -> str:
    """A join token by this session."""
    return "a join token" if session and scene.token(machine, session) else ""


def spoofed_while_booting(scene: Scene) -> str:
    """The victim has claimed and loads its image; a machine with its MAC and address listened to it all."""
    key = scene.opens(scene.victim)
    assert scene.claim(scene.victim, key)
    with scene.ghost() as ghost:
        scene.lab.run("ip", "-n", ghost.name, "addr", "add", f"{ADDRESSES['m1']}/24", "dev", "eth0")
        found = scene.key(ghost)
        session = scene.claim(ghost, found or key) or scene.claim(ghost, "")
    return "a session" if session else ""


def own_boot_in_between(scene: Scene) -> str:
    """The same, and the twin opens a boot of its own; the victim goes on meanwhile, and asks as it would."""
    session = scene.claim(scene.victim, scene.opens(scene.victim))
    assert session
    with scene.ghost() as ghost:
        own = scene.claim(ghost, scene.opens(ghost))
        scene.token(scene.victim, session, tries=1)
        return token_for(scene, own, ghost)


def script_of_another(scene: Scene) -> str:
    """`/ipxe` with the victim's MAC address, from the thief's own address."""
    assert scene.opens(scene.victim)
    return "the victim's key" if scene.key(scene.thief, CARDS["m1"]) else ""


def per_machine_by_tftp(scene: Scene) -> str:
    """The victim's GRUB and pxelinux configuration by TFTP."""
    assert scene.opens(scene.victim)
    card = CARDS["m1"].replace(":", "-")
    for name in (f"grub.cfg-01-{card}", f"pxelinux.cfg/01-{card}"):
        file = scene.directory / "stolen"
        file.unlink(missing_ok=True)
        if scene.thief.tftp(name, file) == 0 and b"vmlinuz" in file.read_bytes():
            return "what the victim boots"
    return ""


def report_without_session(scene: Scene) -> str:
    """A failure reported in the victim's name, and its configuration asked for, without its session."""
    key = scene.opens(scene.victim)
    assert scene.claim(scene.victim, key)
    body = scene.directory / "report.json"
    body.write_text(json.dumps({"step": "squashfs", "failed": True, "detail": "by a thief"}))
    for bearer in ("", "Authorization: Bearer " + "A" * 60):
        status, _, _ = scene.thief.curl("/boot/report", "-H", bearer or "X: y", "--data-binary", f"@{body}")
        if status == 204:
            return "the victim's boot stopped"
    return "a join token" if scene.token(scene.thief, "", tries=1) else ""


def stolen_session(scene: Scene) -> str:
    """A session that was read from the wire asks for the configuration, from an address of its own."""
    victim = scene.machines["m5"]
    session = scene.claim(victim, scene.opens(victim))
    assert session
    return "a join token" if scene.token(scene.thief, session, opens=False) else ""


def another_nodes_request(scene: Scene) -> str:
    """m2's real token asks the cluster for a certificate of the victim."""
    token = scene.joins(scene.machines["m2"])
    return "the victim's certificate" if scene.certificate(token, "m1", "csr-another") else ""


def second_request(scene: Scene) -> str:
    """m3's token, after it has got its one certificate, asks for another one."""
    token = scene.joins(scene.machines["m3"])
    assert scene.certificate(token, "m3", "csr-first")
    return "a second certificate" if scene.certificate(token, "m3", "csr-second") else ""


def unprivileged_process(scene: Scene) -> str:
    """A process of no rights on the victim, after its claim: it has the address, no session and no key."""
    key = scene.opens(scene.victim)
    assert scene.claim(scene.victim, key)
    port = "http://10.77.0.1"
    for path in (f"/ipxe?mac={CARDS['m1']}&uuid=&arch=x86_64", f"/boot/{key}/seed.cpio", "/boot/config"):
        done = scene.victim.run(*NOBODY, "curl", "-s", "-f", f"{port}{path}")
        if done.returncode == 0 and (b"seed.cpio" in done.stdout or path.startswith("/boot")):
            return "the key of a boot"
    return ""


FORGER = """
import socket, sys
mac, place = bytes.fromhex(sys.argv[1].replace(":", "")), socket.inet_aton(sys.argv[2])
ours, relay, port = socket.inet_aton(sys.argv[3]), socket.inet_aton(sys.argv[4]), int(sys.argv[5])
head = bytes([1, 1, 6, 0]) + b"page" + bytes(16) + relay + mac + bytes(202) + b"\\x63\\x82\\x53\\x63"
ipxe = b"\\x3c\\x20PXEClient:Arch:00007:UNDI:003016\\x5d\\x02\\x00\\x07\\x4d\\x04iPXE\\xff"
speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
speaker.bind(("", port))
for kind, further in ((1, b""), (3, b"\\x32\\x04" + place + b"\\x36\\x04" + ours)):
    speaker.sendto(head + bytes([53, 1, kind]) + further + ipxe, (sys.argv[3], 67))
"""
"""A DISCOVER and a REQUEST of iPXE by a socket; argv: MAC, address, appliance, relay agent, own port."""


def boot_forged(scene: Scene, on: Stranger, run: Run, port: str = "0", relay: str = "0.0.0.0") -> str:
    """Somebody of no rights on a machine opens a boot in its firmware's name; a session."""
    done = run(*NOBODY, "/usr/bin/python3", "-c", FORGER, on.mac, on.address, ADDRESS, relay, port)
    assert not done.returncode, done.stderr or done.stdout
    for _ in range(6):
        if key := scene.key(on):
            return scene.claim(on, key)
        on.run("sleep", "0.1")
    return ""


def forged_discover(scene: Scene) -> str:
    """The victim is a Ready node; a process of no rights on it forges its DISCOVER, which opens a boot."""
    victim = scene.victim
    assert scene.claim(victim, scene.opens(victim))
    scene.kube.control("living_node", name="m1", every=0.2, system_uuid="up", boot_id="up")
    try:
        return token_for(scene, boot_forged(scene, victim, victim.run), victim)
    finally:
        scene.leaves("m1")


def forged_where_nobody_asks(scene: Scene) -> str:
    """The same where no API is asked who lives: as the machine itself, and as a relay agent."""
    node = scene.thief
    assert scene.claim(node, scene.opens(node))
    for relay in ("0.0.0.0", node.address, AGENT):
        if settings := settings_for(scene, boot_forged(scene, node, node.run, relay=relay), node):
            return settings
    return ""


def forged_in_a_container(scene: Scene) -> str:
    """The same by a container, which may take the ports of DHCP, and has its machine's address outside."""
    node = scene.thief
    assert scene.claim(node, scene.opens(node))
    with scene.container(node) as run:
        for port, relay in (("68", "0.0.0.0"), ("67", node.address), ("67", AGENT)):
            if settings := settings_for(scene, boot_forged(scene, node, run, port, relay), node):
                return settings
    return ""


def settings_for(scene: Scene, session: str, machine: Stranger) -> str:
    """What a node of a cluster without an API is given by this session."""
    return "the node's settings" if session and scene.settings(machine, session) else ""


def out_of_files(scene: Scene) -> str:
    """Paths that lead out of files_dir, as they stand and encoded."""
    for path in ("/files/../outside", "/files/%2e%2e/outside", "/files/x/../../outside"):
        if OUTSIDE.encode() in scene.thief.curl(path)[2]:
            return "a file that is not offered"
    return ""


def api_without_token(scene: Scene) -> str:
    """The operator's API without a token, and with a wrong one."""
    for headers in ({}, {"Authorization": "Bearer " + "A" * 43}):
        status, _ = scene.appliance.request("GET", "/api/v1/nodes", token=False, headers=headers)
        if status == 200:
            return "the list of nodes"
    return ""


def rebound_host(scene: Scene) -> str:
    """A browser that a foreign name was rebound in: the right address, another Host, even a good token."""
    host = {"Host": f"evil.example:{API[1]}"}
    status, _ = scene.appliance.request("GET", "/api/v1/nodes", headers=host)
    return "the list of nodes" if status == 200 else ""


LIVES = (
    rf"error impostor: impostor: {CARDS['m1']} at {ADDRESSES['m1']} \(UUID 4c4c4544-\S+\) asks to join "
    r"as m1, but another machine \(UUID up\)"
)
TWICE = "error impostor: impostor: the session of m1's boot .* went on"
OTHER = "warning boot_refused: .* claims with the UUID .*, and m4 is declared with"
SECOND = "error impostor: impostor: boot .* of m1 is claimed from .* but was claimed before"
MISUSED = "error token_misused: "
FORGED = "warning dhcp_identity_doubted: .* was sent by "

ROWS = (
    Row("spoofed MAC while the victim is up", "presence succession", spoofed_while_up, LIVES),
    Row("guessed key", "key", guessed_key),
    Row("replayed key", "once", replayed_key),
    Row("eight claims in the same instant", "once", claims_at_once),
    Row("right key from a foreign address", "address", foreign_address),
    Row("spoofed MAC and address during the victim's boot", "once", spoofed_while_booting, SECOND),
    Row("spoofed MAC with a boot of its own, meanwhile", "succession", own_boot_in_between, TWICE),
    Row("spoofed MAC of a machine that is off, declared with its UUID", "identity", spoofed_while_off, OTHER),
    Row("/ipxe for another MAC", "script", script_of_another),
    Row("per-machine files by TFTP", "tftp", per_machine_by_tftp),
    Row("reports without session", "session", report_without_session),
    Row("session read from the wire", "sealing succession", stolen_session),
    Row("another node's CSR", "approver", another_nodes_request, MISUSED),
    Row("second CSR of one token", "approver", second_request, MISUSED),
    Row("an unprivileged process on the joined node", "claimed", unprivileged_process),
    Row("a DISCOVER forged by that process", "firmware presence succession", forged_discover, FORGED),
    Row("a DISCOVER forged where no API is asked", "firmware", forged_where_nobody_asks, FORGED),
    Row("a DISCOVER forged in a container on the node", "firmware", forged_in_a_container),
    Row("/files/../", "names", out_of_files),
    Row("API without token", "token", api_without_token),
    Row("DNS-rebound Host", "host", rebound_host),
    Row("key after expiry", "expiry", expired_key, later=True),
)
