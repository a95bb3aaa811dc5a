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
        "server": {"database": "postgresql://h/n"},
        "images": {"debian-12": {"public_key": "/etc/netboot/images.pub"}},
        "pools": [{}, {"nodes": [{"bmc": {"driver": "ipmi"}}]}],
        "tags": {"t": {"mounts": 5}},
        "unknown": {"bmc": 3},
    }
    assert [(path, key.path) for path, key in marked(tree, KEYS)] == [
        (("server", "database"), "server.database"),
        (("images", "debian-12", "public_key"), "images.*.public_key"),
        (("pools", 1, "nodes", 0, "bmc"), "pools.nodes.bmc"),
    ]


def test_equal_is_not_the_same_as_the_value_that_does_nothing() -> None:
    """false is not 0, and a list of nothing asks for nothing."""
    marker = Later((0,))
    assert marker.silent(0)
    assert not marker.silent(False)
    assert marker.silent([])
    assert marker.silent({"macs": [], "vendors": None})
    assert not marker.silent({"macs": ["x"]})
