"""What a kubelet is told on its command line, made of a node's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from netboot.errors import ConfigError
from netboot.model.settings import Taint

_ARGUMENT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PLAIN_ARGUMENT = re.compile(r"[A-Za-z0-9_@%+=:,./<>-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def kubelet_flags(
    labels: Mapping[str, str], taints: Iterable[Taint], arguments: Mapping[str, str]
) -> dict[str, str]:
    """The kubelet's flags: labels, taints, the operator's own, which win."""
    flags = {}
    if labels:
        flags["node-labels"] = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
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
