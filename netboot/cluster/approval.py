"""Whether a certificate signing request is approved (R7, R8). Pure.

A kubelet's first certificate makes its holder that Node to the API server, so everything about the request
must fit the one token that it was made with. What is not ours to decide is left alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER, CertificateRequest, NodeObject
from netboot.model.binding import SUPERSEDED, Binding
from netboot.model.machine import other_order, uuid_of

NODES = "system:nodes"
NODE = "system:node:"
BOOTSTRAP = "system:bootstrap:"
NODE_BOUND = "system:bootstrappers:netboot"
"""The group of tokens that are bound to a node (`bind: node`): nobody but us approves its requests."""
CONTROL_PLANE = "system:bootstrappers:netboot:control-plane"
"""The further group of tokens for control planes, which may read the certificates that were uploaded."""

LONGEST_REQUEST = 1 << 14
"""Octets of a request that is read."""

CLIENT_USAGES = frozenset({"digital signature", "key encipherment", "client auth"})
SERVING_USAGES = frozenset({"digital signature", "key encipherment", "server auth"})


class Decision(enum.Enum):
    """What is done with a request."""

    APPROVE = "approve"
    DENY = "deny"
    LEAVE = "leave"
    """It is none of ours."""
    WAIT = "wait"
    """It stays Pending: what is missing may come."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and why; `alarm`: somebody misuses a token."""

    decision: Decision
    reason: str = ""
    alarm: bool = False


LEAVE = Verdict(Decision.LEAVE)


def token_id_of(request: CertificateRequest) -> str | None:
    """Which token of the group that we approve for made this request; None for everybody else's."""
    if request.signer != CLIENT_SIGNER or NODE_BOUND not in request.groups:
        return None
    identity = request.username.removeprefix(BOOTSTRAP)
    return identity if identity != request.username and identity else None


def client_verdict(
    request: CertificateRequest, binding: Binding, *, first: str, over: bool, node: NodeObject | None
) -> Verdict:
    """R7, for a request that was made with a token of ours.

    `first` is the uid of that token's first request, `over` whether its boot has ended, `node` the Node
    object under the name that it was made for.
    """
    wrong = _content(request, f"{NODE}{binding.node}", CLIENT_USAGES, "client auth", names=False)
    if wrong:
        return _misused(wrong, node)
    if first == SUPERSEDED:
        return Verdict(Decision.DENY, "its boot was given another token since")
    if first != request.uid:
        return _misused("it is not the first request that was made with its token", node)
    if node is not None and node.ready == "True" and not _same_machine(node, binding):
        return _misused(f"Node {node.name} is Ready on another machine", node)
    if over:
        return Verdict(Decision.DENY, "its boot is over")
    return Verdict(Decision.APPROVE, f"boot {binding.boot_id} of {binding.node} ({binding.mac})")


def _same_machine(node: NodeObject, binding: Binding) -> bool:
    """Firmware writes its UUID in one of two byte orders."""
    ours = uuid_of(binding.uuid or "")
    return ours is not None and node.system_uuid in (ours, other_order(ours))


def _misused(why: str, node: NodeObject | None) -> Verdict:
    """An alarm, with the addresses of whoever lives under the name already."""
    lives = f" (Node {node.name} is at {', '.join(node.addresses[:4])})" if node and node.addresses else ""
    return Verdict(Decision.DENY, why + lives, alarm=True)


# R8


@dataclass(frozen=True, slots=True)
class Known:
    """What a node may be called in its serving certificate."""

    names: frozenset[str]
    addresses: frozenset[str]
    """As `ipaddress` writes them."""


def node_of_serving(request: CertificateRequest) -> str | None:
    """The node that asks for a serving certificate, None where it is none that asks for itself."""
    name = request.username.removeprefix(NODE)
    asks = request.signer == SERVING_SIGNER and NODES in request.groups
    return name if asks and name and name != request.username else None


def serving_verdict(request: CertificateRequest, known: Known, owner: Callable[[str], str | None]) -> Verdict:
    """R8, for a request of a node of ours; `owner` names the other machine that a name or address is of."""
    wrong = _content(request, request.username, SERVING_USAGES, "server auth", names=True)
    if wrong:
        return Verdict(Decision.DENY, wrong)
    names, addresses = _alternatives(request)
    strange = sorted((names - {n.lower() for n in known.names}) | (addresses - known.addresses))
    for one in strange:
        if other := owner(one):
            return Verdict(Decision.DENY, f"{one} is {other}'s")
    if strange:
        return Verdict(Decision.WAIT, f"neither the inventory nor the Node object knows {', '.join(strange)}")
    return Verdict(Decision.APPROVE, "its names and addresses are the node's own")


# Both


def _content(
    request: CertificateRequest, common: str, usages: frozenset[str], needed: str, *, names: bool
) -> str:
    """What is wrong with a request that should be for that common name; empty for nothing."""
    asked = set(request.usages)
    if not asked <= usages or not {"digital signature", needed} <= asked:
        return f"it asks for the usages {listed(request.usages)}"
    try:
        csr = _parsed(request.pem)
        subject = [(a.oid, str(a.value)) for rdn in csr.subject.rdns for a in rdn]
        valid, key = csr.is_signature_valid, csr.public_key()
        alternatives = [e for e in csr.extensions if isinstance(e.value, x509.SubjectAlternativeName)]
        general = [g for e in alternatives for g in e.value]
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return "it cannot be read"
    if not valid:
        return "it is not signed by its own key"
    if not _usable(key):
        return "its key is none of RSA (2048 to 8192 bits), EC or Ed25519"
    if len(subject) != 2 or set(subject) != {
        (NameOID.ORGANIZATION_NAME, NODES),
        (NameOID.COMMON_NAME, common),
    }:
        return f"its subject is {listed(value for _, value in subject)} and not {NODES}, {common}"
    if not names and alternatives:
        return "it has alternative names"
    if names and (not general or not all(isinstance(g, x509.DNSName | x509.IPAddress) for g in general)):
        return "its alternative names are not DNS names and addresses alone"
    return ""


def _parsed(pem: bytes) -> x509.CertificateSigningRequest:
    if len(pem) > LONGEST_REQUEST:
        raise ValueError
    return x509.load_pem_x509_csr(pem)


def _usable(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return 2048 <= key.key_size <= 8192
    return isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)


def _alternatives(request: CertificateRequest) -> tuple[set[str], set[str]]:
    """DNS names in lower case, and addresses, of a request that was read before."""
    extension = _parsed(request.pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    names = {name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}
    return names, {_plain(a) for a in extension.value.get_values_for_type(x509.IPAddress)}


def listed(texts: Iterable[str]) -> str:
    """Texts of a stranger, bounded, and printable ASCII."""
    joined = ", ".join(texts) or "nothing"
    return "".join(c if " " <= c <= "~" else "?" for c in joined)[:200]


def plain_address(text: str) -> str | None:
    """An address as every other is compared with it; None where the text is none."""
    try:
        return _plain(ip_address(text))
    except ValueError:
        return None


def _plain(address: object) -> str:
    """IPv4 within IPv6 (::ffff:a.b.c.d) is the same address to whoever verifies a certificate."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def known_as(names: Iterable[str], addresses: Iterable[str]) -> Known:
    """Names and addresses as the inventory, the lease and the Node object write them, mixed or not."""
    words, places = set(), set()
    for text in (*names, *addresses):
        if (plain := plain_address(text)) is not None:
            places.add(plain)
        else:
            words.add(text.lower())
    return Known(frozenset(words), frozenset(places))
