"""Claim and session: who may spend a boot key, and what a claimed boot may still ask. Decisions only.

Every refusal is a `Refused` whose text is for the operator. A machine that is refused with 404 is told
one text for all causes (`NOT_YOURS`), so that nobody learns which addresses, names and keys exist.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from netboot.boot.key import KEY, boot_key, same, session_secret
from netboot.errors import Refused, TooLate
from netboot.model.boot import REPORTED, Boot, Claim
from netboot.model.inventory import Network, Node
from netboot.model.lease import Lease
from netboot.model.machine import Mac, other_order, uuid_of

MAX_CLAIM = 16 * 1024
MAX_REQUEST = 4 * 1024
MAX_REPORT = 4 * 1024
MAX_LOG = 64 * 1024
"""Bytes of the bodies that a node may send, and of the certificate request in a claim."""

REPEAT_SECONDS = 60.0
"""How long the identical claim gets the identical answer: its first answer may have been lost."""

LIFE = 3600.0
"""Seconds that a key is good for after its boot opened, and a session after its claim."""

CREDENTIALS = 5
"""Configurations with a credential that one boot is given at most."""

BY_TFTP = "by TFTP"
"""Detail of the step `script` where it went by TFTP: such a machine claims without a key."""

NOT_YOURS = "not for this machine: unknown, used, expired or another machine's. Restart it for a new boot\n"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_DETAIL = 2000
_MAX_LINES = 200
_MAX_LINE = 300


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as the network proves it: not as far as the request says it."""

    address: IPv4Address
    lease: Lease | None
    """Of that address, expired or not."""
    on_link: bool
    """In a subnet of an interface of ours, so that the kernel has seen its MAC."""
    neighbour: Mac | None
    """The MAC that the kernel's neighbour table has for the address; only looked at on-link."""
    observed: bool = False
    """Another DHCP server gave the address; we only saw the machine ask for it."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a node claims with; its certificate is not looked at yet."""

    mac: Mac
    uuid: str | None
    certificate: str
    csr: str
    sha256: str
    """Of the whole body."""


@dataclass(frozen=True, slots=True)
class Report:
    """How far a node says that it came."""

    step: str
    bytes: int | None
    of: int | None
    detail: str
    failed: bool


def parse_claim(body: bytes) -> ClaimRequest:
    """A claim from its JSON body; raises Refused (400) naming the field that is wrong."""
    fields = _object(body)
    uuid = _text(fields, "uuid", 64).strip().lower()
    if uuid and not _UUID.fullmatch(uuid):
        raise Refused(400, "uuid is neither a UUID nor empty")
    try:
        mac = Mac(_text(fields, "mac", 32))
    except ValueError:
        raise Refused(400, "mac is not a MAC address") from None
    return ClaimRequest(
        mac=mac,
        uuid=uuid or None,
        certificate=_text(fields, "certificate", MAX_CLAIM),
        csr=_text(fields, "csr", MAX_REQUEST),
        sha256=hashlib.sha256(body).hexdigest(),
    )


def parse_report(body: bytes) -> Report:
    """A report from its JSON body; raises Refused (400). Its `at` is not read: clocks on bare metal lie."""
    fields = _object(body)
    step = _text(fields, "step", 32)
    if step not in REPORTED:
        raise Refused(400, f"step is none of {', '.join(REPORTED)}")
    failed = fields.get("failed", False)
    if type(failed) is not bool:
        raise Refused(400, "failed is neither true nor false")
    detail = _text(fields, "detail", MAX_REPORT)[:_MAX_DETAIL]
    return Report(step, _count(fields, "bytes"), _count(fields, "of"), detail, failed)


def parse_log(body: bytes) -> tuple[str, ...]:
    """The lines of a node's log, at most 200 of at most 300 characters, the last ones first kept."""
    lines = [line.strip() for line in body.decode("utf-8", "replace").splitlines()]
    return tuple(line[:_MAX_LINE] for line in lines if line)[-_MAX_LINES:]


def leased_to(asker: Asker) -> Lease:
    """The lease of the address that somebody asks from, its MAC proved as far as can be; Refused (404)."""
    if asker.lease is None:
        raise Refused(404, "asked from an address that is leased to nobody")
    if not proved(asker):
        seen = asker.neighbour or "no MAC at all"
        raise Refused(404, f"asked from the address of {asker.lease.mac}, but the link shows {seen} there")
    return asker.lease


def proved(asker: Asker) -> bool:
    """Whether the link shows the leased MAC at this address; behind a relay there is nothing to look at.

    An address that we only observed counts for nothing without the link's word.
    """
    looked_at = asker.on_link or asker.observed
    return not looked_at or (asker.lease is not None and asker.neighbour == asker.lease.mac)


def doubt(asker: Asker) -> str:
    """Why an asker is not `proved`, in a person's words."""
    if asker.observed and not asker.on_link:
        return "nothing proves this address: another DHCP server gave it, beyond our links (mode proxy)"
    return "another machine answers at this address"


def whose_address(network: Network) -> str:
    """What a machine can do that asks from an address of which we know nothing."""
    if network.proxy:
        return "let it ask its DHCP server again by broadcast, so that the appliance sees its address"
    return "let this machine take its address from the appliance"


def boot_of_key(key: str, candidates: Iterable[Boot], secret: bytes) -> Boot:
    """The boot of this address's machine that a key belongs to; Refused (404) where it is none of them."""
    if KEY.fullmatch(key):
        for boot in candidates:
            if same(boot_key(secret, boot.id), key):
                return boot
    raise Refused(404, "a key that belongs to no boot of the machine at this address")


def check_unused(boot: Boot, claim: Claim | None, now: float) -> None:
    """Whether a boot's key may still be handed out or spent; Refused (404) once it is used or expired."""
    if claim is not None:
        raise Refused(404, f"the key of {boot.node}'s boot {boot.id} was used already")
    if boot.ended is not None:
        raise Refused(404, f"{boot.node}'s boot {boot.id} is over")
    if now - boot.started > LIFE:
        raise Refused(404, f"the key of {boot.node}'s boot {boot.id} has expired")


def check_claim(
    request: ClaimRequest, asker: Asker, lease: Lease, boot: Boot, standing: Claim | None, now: float
) -> Claim | None:
    """Whether a machine may claim a boot: None, it may spend the key; or the claim whose answer is repeated.

    Raises Refused (404): another machine's MAC, a used or expired key.
    """
    if request.mac != lease.mac:
        raise Refused(404, f"{request.mac} claims from the address that is leased to {lease.mac}")
    if standing is not None and repeats(request, asker.address, standing, now):
        return standing
    check_unused(boot, standing, now)
    return None


def second_claimant(
    request: ClaimRequest, lease: Lease, boot: Boot, standing: Claim | None, now: float
) -> str:
    """What an operator is told of a second machine that claims a boot; empty where there is none.

    A machine makes one claim per boot, so another body from its address is another machine's, within the hour
    of its key. Without a key any program of a node may claim: that tells nothing after the boot.
    """
    if standing is None or request.mac != lease.mac or same(request.sha256, standing.request_sha256):
        return ""
    if now - standing.claimed > LIFE or (boot.ended is not None and _by_tftp(boot)):
        return ""
    return (
        f"impostor: boot {boot.id} of {boot.node} is claimed from {lease.address} "
        f"(UUID {request.uuid or 'none'}), but was claimed before (UUID {boot.system_uuid or 'none'}): two "
        f"machines have the MAC address {boot.mac}, and the first one may be the wrong one. Nothing is given "
        "to the second; find out which one is the right one"
    )


MEND_IDENTITY = "mend what is declared of this node, or find out whose machine this is"


def check_identity(boot: Boot) -> None:
    """Whether a machine fits in all that its node is declared with, as DHCP saw it; Refused (404)."""
    if boot.doubt:
        raise Refused(404, f"{boot.mac} asks for what is {boot.node}'s, but {boot.doubt}")


def check_uuid(request: ClaimRequest, node: Node | None) -> None:
    """Whether the system that claims has its node's declared UUID, in either byte order; Refused (404)."""
    if node is None or not node.uuid:
        return
    said = uuid_of(request.uuid or "")
    if said is None or said not in (node.uuid, other_order(node.uuid)):
        text = f"with the UUID {said or 'of nobody'}, and {node.name} is declared with {node.uuid}"
        raise Refused(404, f"{request.mac} claims {text}")


def repeats(request: ClaimRequest, address: IPv4Address, standing: Claim, now: float) -> bool:
    """Whether this is the identical request once more, within a minute and from the same address."""
    return (
        same(request.sha256, standing.request_sha256)
        and address == standing.address
        and now - standing.claimed <= REPEAT_SECONDS
        and not standing.ended
    )


def check_without_key(boot: Boot) -> None:
    """Whether a boot may be claimed without a key: only if its script went by TFTP; Refused (404)."""
    if not _by_tftp(boot):
        raise Refused(404, f"{boot.node} claims without a key, but its script did not go by TFTP")


def _by_tftp(boot: Boot) -> bool:
    script = boot.step("script")
    return script is not None and script.detail == BY_TFTP


def is_ours(session: str, claim: Claim | None, secret: bytes) -> bool:
    """Whether a session secret is this claim's, whether or not it lives."""
    return claim is not None and same(
        session, session_secret(secret, claim.boot_id, claim.certificate_sha256)
    )


def check_session(session: str, claim: Claim | None, boot: Boot | None, secret: bytes, now: float) -> Claim:
    """The claim that a session secret belongs to, while it lives; Refused (404) for a wrong or dead one."""
    if claim is None or boot is None:
        raise Refused(404, "a session of no boot that we know")
    if not same(session, session_secret(secret, claim.boot_id, claim.certificate_sha256)):
        raise Refused(404, f"a wrong session secret for {boot.node}'s boot {boot.id}")
    if boot.state == "joined" and boot.ended is not None:
        raise TooLate(404, f"the session of {boot.node}'s boot {boot.id} ended: it has joined")
    if claim.ended or now - claim.claimed > LIFE:
        raise Refused(404, f"the session of {boot.node}'s boot {boot.id} is over")
    return claim


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refused(400, "the body is not a JSON object")
    return fields


def _text(fields: dict[str, Any], name: str, limit: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > limit:
        raise Refused(400, f"{name} is not a text of at most {limit} characters")
    return value


def _count(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 1 << 50:
        raise Refused(400, f"{name} is not a number of bytes")
    return value
