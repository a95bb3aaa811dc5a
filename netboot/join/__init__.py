"""How a node proves itself to its cluster: the door.

Variants beside it: `kubeadm`, `certificate`, `tls_bootstrap`, `static`, `none`; what they share: `turns` (who
asks how often), `naming` (is the name free), `minting` (tokens), `rounds` (each cluster by itself),
`kubelet` (what starts one without kubeadm).

The errors of both calls are `JoinWithheld`: its text is for the operator and for the node's console, and
its `retry_after` says whether asking again can help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Protocol

from netboot.errors import JoinWithheld
from netboot.model.inventory import Assignment, Cluster
from netboot.model.machine import Mac
from netboot.model.settings import Taint

__all__ = ["File", "JoinMaterial", "JoinMethod", "JoinRequest", "JoinWithheld", "request_of"]

File = tuple[bytes, int]
"""Content and mode of one file."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Which node asks for a credential, in which of its boots."""

    boot_id: str
    node: str
    mac: Mac
    cluster: Cluster
    uuid: str | None = None
    """As the claim had it."""
    address: IPv4Address | None = None
    csr: str = ""
    """The node's own certificate request, as the claim had it: a stranger's text until it is checked."""
    names: tuple[str, ...] = ()
    """What the machine is called beside its node's name: with the network's domain."""
    declared: bool = False
    """Whether the operator knows this machine; others may be turned away (R20)."""
    priority: int = 0
    """Its pool's: of machines that wait for one cluster, the higher one is first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    kubelet_args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JoinMaterial:
    """What one node needs to join in one boot; only its file contents are secret."""

    method: str
    files: Mapping[str, File] = field(repr=False)
    """By their names in the node's configuration, below `netboot/`: `join/method`, `join/kubeadm.yaml`."""
    credentials: tuple[str, ...] = ()
    """Ids of the credentials in it, for logs."""
    replaces: str = ""
    """The incarnation of the Node object that stood under the name before; empty: there was none."""


class JoinMethod(Protocol):
    """One way to join."""

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """Make a new credential; this boot's former one is revoked. Raises JoinWithheld.

        Also ClusterUnavailable, where the API gave no usable answer: whoever called waits for it in order.
        Only a credential that was made counts against the boot's limit, a withheld one does not.
        """

    async def revoke(self, boot_id: str) -> None:
        """Take back whatever this boot was given; no error where it was nothing, or where it must wait."""


def request_of(
    assignment: Assignment,
    *,
    boot_id: str,
    mac: Mac,
    uuid: str | None,
    address: IPv4Address | None,
    csr: str = "",
) -> JoinRequest:
    """The request of one boot of a machine that this assignment is for."""
    domain = assignment.network.domain
    return JoinRequest(
        boot_id=boot_id,
        node=assignment.name,
        mac=mac,
        cluster=assignment.cluster,
        uuid=uuid,
        address=address,
        csr=csr,
        names=(f"{assignment.name}.{domain}",) if domain else (),
        declared=assignment.node is not None,
        priority=assignment.pool.priority,
        labels=assignment.settings.labels,
        taints=assignment.settings.taints,
        kubelet_args=assignment.settings.kubelet_args,
    )
