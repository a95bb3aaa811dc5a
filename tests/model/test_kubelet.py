"""The kubelet's flags, and how they stand on a command line."""

from __future__ import annotations

import shlex

import pytest

from netboot.errors import ConfigError
from netboot.model.kubelet import command_line, kubelet_flags, may_set
from netboot.model.settings import Taint


def test_labels_taints_and_arguments_become_flags() -> None:
    """Sorted, so that the same settings give the same bytes; the operator's own flag wins."""
    flags = kubelet_flags(
        {"b": "2", "a": "1"}, [Taint("foo", "bar", "NoSchedule")], {"v": "2", "node-labels": "x=y"}
    )
    assert flags == {"node-labels": "x=y", "register-with-taints": "foo=bar:NoSchedule", "v": "2"}
    assert kubelet_flags({"b": "2", "a": "1"}, [], {}) == {"node-labels": "a=1,b=2"}
    assert kubelet_flags({}, (), {}) == {}


def test_a_value_with_blanks_stays_one_argument() -> None:
    """systemd splits an unquoted variable and honours quotes."""
    line = command_line({"a": "b c", "v": "4"})
    assert shlex.split(line) == ["--a=b c", "--v=4"]


@pytest.mark.parametrize("value", ["it's", 'a "b"', "$HOME x", "a\\ b", "a\nb"])
def test_what_no_command_line_carries_is_refused(value: str) -> None:
    """Its value is not repeated: it may be a secret."""
    with pytest.raises(ConfigError, match="kubelet_args") as raised:
        command_line({"x": value})
    assert value not in str(raised.value)
    with pytest.raises(ConfigError):
        command_line({"Bad Name": "x"})


@pytest.mark.parametrize(
    ("label", "may"),
    [
        ("rack", True),
        ("example.org/rack", True),
        ("notkubernetes.io/x", True),
        ("kubernetes.io/os", True),
        ("topology.kubernetes.io/zone", True),
        ("kubelet.kubernetes.io/x", True),
        ("a.node.kubernetes.io/x", True),
        ("node-role.kubernetes.io/worker", False),
        ("node-restriction.kubernetes.io/x", False),
        ("kubernetes.io/role", False),
        ("x.k8s.io/y", False),
        ("xnode.kubernetes.io/y", False),
        ("xkubelet.kubernetes.io/y", False),
    ],
)
def test_a_kubelet_is_told_only_labels_that_it_may_set(label: str, may: bool) -> None:
    """It would exit on others of Kubernetes' own; those are set on the Node object later."""
    assert may_set(label) is may
    assert kubelet_flags({label: "1"}, (), {}) == ({"node-labels": f"{label}=1"} if may else {})
