"""Why a node is given no credential, in the operator's words: what was wrong, where, what to do. Pure."""

from __future__ import annotations

from netboot.cluster import NodeObject
from netboot.errors import ClusterRefused
from netboot.join import JoinRequest
from netboot.model.binding import Binding

SPENT = "this boot was given as many credentials as one boot may have: restart the machine for a new boot"

CHANGED = "the Node object of this name changed just now, looking again"


def held(request: JoinRequest, binding: Binding) -> str:
    """R7: a token that was made for this name was misused."""
    return f"the name {request.node} is held: {binding.alarm}"


def still_ready(request: JoinRequest, seconds: float) -> str:
    """R19: not known yet whether another machine lives under the name."""
    return (
        f"Node {request.node} is still Ready: its Lease is watched for {seconds:.0f} more seconds, to see "
        "whether another machine lives under this name"
    )


def not_marked(request: JoinRequest) -> str:
    """R19 where the operator keeps us from marking Node objects: the cluster has to notice by itself."""
    return (
        f"Node {request.node} is still Ready and nobody renews its Lease: waiting for cluster "
        f"{request.cluster.name} to notice (40 to 50 s), because node_actions.mark_unknown is false"
    )


def impostor(request: JoinRequest, node: NodeObject) -> str:
    """R19: another machine does. Both are named as far as they are known: that one by its Node object."""
    return (
        f"impostor: {request.mac} at {request.address or 'an unknown address'}{_with(request.uuid)} asks to "
        f"join as {request.node}, but another machine{_with(node.system_uuid)}{_at(node)} lives under that "
        f"name in cluster {request.cluster.name} and renews its Lease. "
        "No credential is made; find out which of the two machines is the right one"
    )


def _with(uuid: str | None) -> str:
    return f" (UUID {uuid[:36]})" if uuid else ""


def _at(node: NodeObject) -> str:
    """Where a kubelet says that it is: bounded, as a stranger's words are."""
    return f" at {', '.join(node.addresses[:3])[:80]}" if node.addresses else ""


def no_authority(request: JoinRequest) -> str:
    """R14: cluster-info has nothing to pin."""
    return (
        f"wrong CA: the ConfigMap cluster-info of cluster {request.cluster.name} names no authority; "
        "`kubeadm init phase bootstrap-token` writes it"
    )


def wrong_authority(request: JoinRequest, shown: tuple[str, ...], pinned: tuple[str, ...]) -> str:
    """R14: cluster-info shows nodes another authority than ours."""
    return (
        f"wrong CA: the ConfigMap cluster-info of cluster {request.cluster.name} shows nodes another "
        f"authority ({', '.join(shown)}) than the one that the kubeconfig trusts ({', '.join(pinned)}). "
        "One of the two is wrong, so no node is sent there"
    )


def wrong_signature(request: JoinRequest) -> str:
    """R5: there is a signature, but not by our token."""
    return (
        f"wrong JWS signature: cluster {request.cluster.name} signed cluster-info with something else than "
        "the token that was created, so every node would refuse it"
    )


def unsigned(request: JoinRequest, skew: float | None, waited: float) -> str:
    """R5, R2, R18: no signature came; a clock that is far off explains it, else the controller is missing."""
    name, life = request.cluster.name, request.cluster.join.token_ttl
    if skew is not None and skew > life / 2:
        return (
            f"expired token: the clock of cluster {name} is {skew:.0f} s ahead of ours, so a token that "
            f"lives {life:.0f} s is expired when it is made; synchronise both clocks (NTP)"
        )
    return (
        f"cluster {name} did not sign cluster-info within {waited:g} s: its controller-manager does not run, "
        "or without the controllers that tokens need (`--controllers=*,bootstrapsigner,tokencleaner`)"
    )


def no_certificate_key(request: JoinRequest) -> str:
    """A control plane without the key of the certificates that it has to fetch."""
    return (
        f"{request.cluster.join.certificate_key_file} holds no certificate key (64 hexadecimal digits), "
        "which a control plane needs: write there what `kubeadm init phase upload-certs --upload-certs` "
        "prints; it counts for two hours"
    )


def refusal(request: JoinRequest, error: ClusterRefused) -> str:
    """The API said no, and what to do about it."""
    name = request.cluster.name
    if error.status == 401:
        return f"cluster {name} does not know our account (401): renew the credential in its kubeconfig"
    if error.status == 403:
        return (
            f"our account in cluster {name} lacks a right: {error.reason}. "
            f"Apply config/kubernetes/appliance.yaml there; `netboot cluster doctor {name}` tells of all "
            "that is missing"
        )
    return f"cluster {name} refused: {error}"


def unknown_authority(request: JoinRequest) -> str:
    """R14: our kubeconfig names no authority that a node could trust."""
    return (
        f"wrong CA: the kubeconfig of cluster {request.cluster.name} names no authority "
        "(certificate-authority-data), so its nodes could not tell their API server from another"
    )


def unissued(request: JoinRequest, waited: float) -> str:
    """The controller-manager signs what is approved; it did not."""
    return (
        f"cluster {request.cluster.name} did not sign the approved certificate request of {request.node} "
        f"within {waited:g} s: its controller-manager does not run, or without --cluster-signing-cert-file"
    )


def not_issued(request: JoinRequest, name: str, why: str) -> str:
    """Somebody else denied it, or its signer failed."""
    return (
        f"the certificate request {name} of {request.node} was refused in cluster {request.cluster.name}: "
        f"{why or 'without a reason'}"
    )


def wrong_request(request: JoinRequest, why: str) -> str:
    """What the machine sent with its claim is not what its node may have."""
    return f"{request.mac} at {request.address or 'an unknown address'} as {request.node}: {why}"
