from __future__ import annotations

from netboot.config.keys import Later, marked
from netboot.config.schema import KEYS


def test_a_value_that_says_what_happens_anyway_is_not_marked() -> None:
    """Defaults and empty values ask for nothing."""
    tree = {
        "server": {"tftp": {"single_port": False}, "storm": {"max_rate": "unlimited"}, "database": "sqlite"},
        "networks": [
            {"mode": "server", "admit": {"macs": [], "vendors": []}, "relays": [], "relayed": False}
        ],
        "clusters": [
            {"join": {"method": "kubeadm", "max_nodes": "unlimited"}, "node_actions": {"drain": False}}
        ],
        "pools": [
            {"priority": 0, "admission": "automatic", "nodes": [{"uuid": None, "boot": {"quirks": []}}]}
        ],
    }
    assert list(marked(tree, KEYS)) == []


def test_marked_keys_are_found_wherever_they_stand() -> None:
    """In lists, in maps by name, below others."""
    tree = {
        "clusters": [{"node_actions": {"drain": True}}],
        "pools": [{}, {"nodes": [{"bmc": {"driver": "ipmi"}}], "priority": False}],
        "tags": {"t": {"mounts": 5}},
        "unknown": {"priority": 3},
    }
    assert [(path, key.path) for path, key in marked(tree, KEYS)] == [
        (("clusters", 0, "node_actions", "drain"), "clusters.node_actions.drain"),
        (("pools", 1, "nodes", 0, "bmc"), "pools.nodes.bmc"),
        (("pools", 1, "priority"), "pools.priority"),
    ]


def test_equal_is_not_the_same_as_the_value_that_does_nothing() -> None:
    """false is not 0, and a list of nothing asks for nothing."""
    marker = Later((0,))
    assert marker.silent(0)
    assert not marker.silent(False)
    assert marker.silent([])
    assert marker.silent({"macs": [], "vendors": None})
    assert not marker.silent({"macs": ["x"]})
