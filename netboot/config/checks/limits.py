"""Limits that nobody could hold."""

from __future__ import annotations

from collections.abc import Iterator

from netboot.config.checks.facts import Facts
from netboot.config.problems import Problem
from netboot.model.inventory import INFINITE


def counted(facts: Facts) -> Iterator[Problem]:
    """A limit of nodes in a cluster whose nodes cannot be counted: it would hold nobody back."""
    for index, cluster in enumerate(facts.root.clusters):
        method, known = cluster.join.method, facts.wrote("clusters", cluster.name, "join", "kubeconfig")
        alone = method == "none" or (method == "static" and not known)
        if cluster.join.max_nodes != INFINITE and alone:
            what = "Node objects are counted by asking the cluster's API, and here is none to ask"
            remedy = "write join.kubeconfig and a method that joins, or take max_nodes out"
            yield facts.problem(("clusters", index, "join", "max_nodes"), what, remedy)
