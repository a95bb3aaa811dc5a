"""What is checked and filled in before an object is written: kubelets, Secrets, certificate requests."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from tests.kube import pki, status
from tests.kube.access import CERTIFICATES, NODE_GROUP, NODE_PREFIX, Authorizer, Question
from tests.kube.bootstrap import User
from tests.kube.objects import stamp
from tests.kube.status import Json

ALLOWED_LABELS = (
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
"""Labels under kubernetes.io and k8s.io that the NodeRestriction admission lets a kubelet set itself."""

USAGES = frozenset(
    (
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    )
)
SHORTEST = 600
"""Seconds that a certificate or a service account's token lives at least."""


def node_restriction(user: User, resource: str, name: str, present: Json, wanted: Json) -> None:
    """A kubelet changes its own Node and Lease alone, and only some labels of them; raises 403."""
    if NODE_GROUP not in user.groups:
        return
    own = user.name.removeprefix(NODE_PREFIX)
    if name != own:
        raise status.forbidden(
            f'{resource} "{name}" is forbidden: node "{own}" is not allowed to modify node "{name}"'
        )
    old = present.get("metadata", {}).get("labels") or {}
    labels = wanted.get("metadata", {}).get("labels") or {}
    refused = sorted(k for k in labels if old.get(k) != labels[k] and not label_allowed(k))
    if refused:
        raise status.forbidden(
            f'nodes "{name}" is forbidden: is not allowed to modify labels: {", ".join(refused)}'
        )


def label_allowed(key: str) -> bool:
    """Whether the NodeRestriction admission lets a kubelet set this label on its own Node."""
    domain = key.rpartition("/")[0]
    if domain == "node-restriction.kubernetes.io" or domain.endswith(".node-restriction.kubernetes.io"):
        return False
    if not any(domain == d or domain.endswith("." + d) for d in ("kubernetes.io", "k8s.io")):
        return True
    free = ("kubelet.kubernetes.io", "node.kubernetes.io")
    return key in ALLOWED_LABELS or any(domain == d or domain.endswith("." + d) for d in free)


def fold_string_data(secret: Json) -> None:
    """stringData goes into data; raises ValueError (400) for data that is no base64."""
    data = secret.setdefault("data", {})
    for name, value in (secret.pop("stringData", None) or {}).items():
        data[name] = pki.b64(str(value).encode())
    for value in data.values():
        base64.b64decode(str(value), validate=True)
    secret.setdefault("type", "Opaque")


def stamp_request(csr: Json, user: User) -> None:
    """A new certificate request is checked, and is its sender's; raises 422."""
    spec, name = csr["spec"], csr["metadata"].get("name", "")
    for path, why in _request_faults(spec):
        raise status.invalid(f"CertificateSigningRequest.{CERTIFICATES}", name, f"spec.{path}: {why}")
    spec.update(username=user.name, groups=list(user.groups))
    csr["status"] = {}


def _request_faults(spec: Json) -> list[tuple[str, str]]:
    usages, faults = spec.get("usages") or [], []
    if not usages:
        faults.append(("usages", "Required value"))
    faults += [("usages", f'Unsupported value: "{u}"') for u in usages if u not in USAGES]
    if len(set(usages)) != len(usages):
        faults.append(("usages", "Duplicate value"))
    signer = str(spec.get("signerName") or "")
    if not signer:
        faults.append(("signerName", "Required value"))
    elif "/" not in signer or signer == "kubernetes.io/legacy-unknown":
        faults.append(("signerName", f'Invalid value: "{signer}"'))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and int(seconds) < SHORTEST:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        faults.append(("expirationSeconds", f"Invalid value: {seconds}: {why}"))
    try:
        good = pki.is_signed(base64.b64decode(spec.get("request") or "", validate=True))
    except (binascii.Error, ValueError):
        good = False
    if not good:
        faults.append(("request", "Invalid value: unable to parse, or not signed by its own key"))
    return faults


def may_approve(authorizer: Authorizer, user: User, csr: Json) -> None:
    """Who approves or denies needs the right to the signer too; raises 403."""
    name = csr["spec"]["signerName"]
    domain = name.partition("/")[0] + "/*"
    if not any(
        authorizer.allows(user, Question("approve", CERTIFICATES, "signers", "", n)) for n in (name, domain)
    ):
        raise status.forbidden(
            f'certificatesigningrequests.{CERTIFICATES} "{csr["metadata"]["name"]}" is forbidden: user '
            f'not permitted to approve requests with signerName "{name}"'
        )


def decided(csr: Json, conditions: list[Json], now: float) -> list[Json]:
    """The conditions that an approval may write: what was decided stands; raises 422."""
    name = csr["metadata"]["name"]
    before = {c["type"]: c for c in csr.get("status", {}).get("conditions") or ()}
    kinds = [c.get("type") for c in conditions]
    for broken, why in _condition_faults(before, kinds, conditions):
        if broken:
            raise status.invalid(f"CertificateSigningRequest.{CERTIFICATES}", name, f"status.conditions{why}")
    at = stamp(now)
    return [{"lastUpdateTime": at, "lastTransitionTime": at, **c} for c in conditions]


def _condition_faults(
    before: dict[str, Json], kinds: list[Any], conditions: list[Json]
) -> list[tuple[bool, str]]:
    final = ("Approved", "Denied", "Failed")
    return [
        (None in kinds, "[0].type: Required value"),
        (any(not c.get("status") for c in conditions), "[0].status: Required value"),
        (
            any(c.get("status") != "True" for c in conditions if c.get("type") in final),
            '[0].status: Invalid value: Approved, Denied and Failed must be "True"',
        ),
        (len(set(kinds)) != len(kinds), "[1].type: Duplicate value"),
        ({"Approved", "Denied"} <= set(kinds), ": Approved and Denied conditions are mutually exclusive"),
        (
            any(k in before and k not in kinds for k in final),
            ": Forbidden: updates may not remove a condition of type Approved, Denied or Failed",
        ),
    ]
