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
        if cluster.join.method == "kubeadm":
            yield from _kubeadm(facts, cluster, (*at, "join"))


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


def _kubeadm(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """What kubeadm needs, and the binding that is the default but not there yet."""
    said = facts.wrote("clusters", cluster.name, "join", "bind")
    if said and "bind" not in cluster.join.model_fields_set:
        return  # its value was refused already
    if cluster.join.bind == "node":
        words = "bind: node" if said else "bind: node, the default,"
        what = f"{words} is not there yet: a credential would not be tied to its own node"
        remedy = "write bind: cluster where a booting node may be trusted not to claim another node's name"
        yield facts.problem((*at, "bind"), what, remedy)
