"""What a kubelet is told on its command line, made of a node's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from netboot.errors import ConfigError
from netboot.model.settings import Taint

_ARGUMENT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PLAIN_ARGUMENT = re.compile(r"[A-Za-z0-9_@%+=:,./<>-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


_MAY = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)


def may_set(label: str) -> bool:
    """Whether a kubelet may set this label on itself: with another of Kubernetes' own it would not start.

    (--node-labels, and the admission plugin NodeRestriction.) Roles are of the latter kind.
    """
    prefix, slash, _ = label.rpartition("/")
    if not slash or label in _MAY or not _within(prefix, "kubernetes.io", "k8s.io"):
        return True
    return _within(prefix, "kubelet.kubernetes.io", "node.kubernetes.io")


def _within(domain: str, *above: str) -> bool:
    return any(domain == each or domain.endswith(f".{each}") for each in above)


def node_labels(labels: Mapping[str, str]) -> str:
    """The value of --node-labels; what kubelets may not set is left to `fleet.reconciling`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()) if may_set(key))


def kubelet_flags(
    labels: Mapping[str, str], taints: Iterable[Taint], arguments: Mapping[str, str]
) -> dict[str, str]:
    """The kubelet's flags: labels, taints, the operator's own, which win."""
    flags = {}
    if words := node_labels(labels):
        flags["node-labels"] = words
    if taints := tuple(taints):
        flags["register-with-taints"] = ",".join(map(str, taints))
    return flags | dict(sorted(arguments.items()))


def command_line(flags: Mapping[str, str]) -> str:
    """The flags as systemd splits them; raises ConfigError for what it could not carry."""
    return " ".join(_flag(name, value) for name, value in flags.items())


def _flag(name: str, value: str) -> str:
    if not _ARGUMENT.fullmatch(name):
        raise ConfigError([f"kubelet_args: {name[:80]!r} cannot be written into the node's configuration"])
    if _PLAIN_ARGUMENT.fullmatch(value):
        return f"--{name}={value}"
    if "'" in value or '"' in value or "\\" in value or "$" in value:
        raise ConfigError([f"kubelet_args: the value of {name} holds a quote, `$` or backslash"])
    if _CONTROL.search(value):
        raise ConfigError(["kubelet_args: a value holds a line end or a control character"])
    return f'"--{name}={value}"'
