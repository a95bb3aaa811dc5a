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
        if cluster.join.method == "kubeadm":
            yield from _kubeadm(facts, cluster, (*at, "join"))


def _kubeadm(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """What kubeadm needs, and the binding that is the default but not there yet."""
    if not facts.wrote("clusters", cluster.name, "join", "kubeconfig"):
        what = "kubeadm needs a kubeconfig: with it we make each boot's credential"
        yield facts.problem(at, what, "write kubeconfig: /etc/netboot/clusters/NAME.kubeconfig")
    said = facts.wrote("clusters", cluster.name, "join", "bind")
    if said and "bind" not in cluster.join.model_fields_set:
        return  # its value was refused already
    if cluster.join.bind == "node":
        words = "bind: node" if said else "bind: node, the default,"
        what = f"{words} is not there yet: a credential would not be tied to its own node"
        remedy = "write bind: cluster where a booting node may be trusted not to claim another node's name"
        yield facts.problem((*at, "bind"), what, remedy)
