"""What `clusters` say."""

from __future__ import annotations

from collections.abc import Iterator

from netboot.config import schema
from netboot.config.checks.facts import Facts, tag_references
from netboot.config.keys import RawPath
from netboot.config.problems import Problem


def joins(facts: Facts) -> Iterator[Problem]:
    """Tags that are declared, and a join that has what its method needs."""
    for index, cluster in enumerate(facts.root.clusters):
        at: RawPath = ("clusters", index)
        yield from tag_references(facts, at, cluster.tags)
        if cluster.join.model_fields_set and not facts.wrote("clusters", cluster.name, "join", "method"):
            what = "a join without a method does not join"
            remedy = "write method: kubeadm, or method: none to boot without joining"
            yield facts.problem((*at, "join"), what, remedy)
        yield from _files(facts, cluster, (*at, "join"))
        yield from _role(facts, cluster, (*at, "join"))
        yield from _discovery(facts, cluster, (*at, "join"))
        yield from _serving(facts, cluster, at)


_CREDENTIALS = {
    "kubeadm": "with it we make each boot's credential",
    "certificate": "with it we have each boot's certificate signed",
    "tls-bootstrap": "with it we make each boot's credential",
}
"""Methods that ask an API for each boot, and what for."""

_BY_HAND = ("ca_certificate", "ca_key_file", "directory")
"""Keys of method static alone."""


def _files(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """The files that a method cannot do without, and those that belong to another one."""
    method = cluster.join.method
    wrote = {key for key in (*_BY_HAND, "kubeconfig") if facts.wrote("clusters", cluster.name, "join", key)}
    if method in _CREDENTIALS and "kubeconfig" not in wrote:
        what = f"{method} needs a kubeconfig: {_CREDENTIALS[method]}"
        yield facts.problem(at, what, "write kubeconfig: /etc/netboot/clusters/NAME.kubeconfig")
    if method == "static":
        yield from _by_hand(facts, wrote, at)
    elif strange := [key for key in _BY_HAND if key in wrote and method in _CREDENTIALS]:
        what = (
            f"{' and '.join(strange)} {'has' if len(strange) == 1 else 'have'} no effect with method {method}"
        )
        yield facts.problem((*at, strange[0]), what, "take it out, or write method: static")


def _by_hand(facts: Facts, wrote: set[str], at: RawPath) -> Iterator[Problem]:
    if "directory" in wrote and "ca_key_file" in wrote:
        what = "directory and ca_key_file both say where certificates come from"
        yield facts.problem((*at, "ca_key_file"), what, "write one of them")
    elif "directory" not in wrote and not {"ca_certificate", "ca_key_file"} <= wrote:
        what = "static needs an authority that signs, or certificates that are there already"
        yield facts.problem(at, what, "write ca_certificate and ca_key_file, or directory")


def _role(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """A control plane joins by kubeadm, and with the key of the certificates that it fetches."""
    join = cluster.join
    key = facts.wrote("clusters", cluster.name, "join", "certificate_key_file")
    if join.role == "control-plane" and join.method != "kubeadm":
        what = f"method {join.method} joins no control planes"
        yield facts.problem((*at, "role"), what, "write method: kubeadm, or role: worker")
    elif join.role == "control-plane" and not key:
        what = "a control plane fetches the cluster's certificates, which a key opens"
        remedy = "write certificate_key_file: a file with what `kubeadm init phase upload-certs` prints"
        yield facts.problem((*at, "role"), what, remedy)
    elif key and join.role != "control-plane":
        what = "certificate_key_file has no effect with role worker"
        yield facts.problem((*at, "certificate_key_file"), what, "take it out, or write role: control-plane")


def _discovery(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """Only kubeadm discovers: other methods give the node the authority itself."""
    if cluster.join.discovery == "file" and cluster.join.method != "kubeadm":
        what = f"discovery has no effect with method {cluster.join.method}"
        yield facts.problem((*at, "discovery"), what, "take it out, or write method: kubeadm")


def _serving(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """Approving needs an API to approve at."""
    wrote = facts.wrote("clusters", cluster.name, "join", "kubeconfig")
    alone = cluster.join.method in ("static", "none")  # the others are told of it anyway
    if cluster.serving_certificates == "approve" and alone and not wrote:
        what = "serving certificates are approved by a cluster's API, and this one has no kubeconfig"
        remedy = "write join.kubeconfig, or serving_certificates: ignore"
        yield facts.problem((*at, "serving_certificates"), what, remedy)
