from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from netboot.config import schema
from netboot.config.keys import Key, Later, NotYet
from netboot.config.schema import KEYS

ROOT = Path(__file__).parent.parent.parent
_ROW = re.compile(r"\| `([a-z_.*]+)` \| (.+) \| (.+) \| (works|later|refused) \|")
_GROUPS = {"server", "networks", "images", "clusters", "pools", "tags"}
_GROUPS |= {
    "server.tftp",
    "server.storm",
    "server.boot_limits",
    "server.api",
    "networks.limits",
    "clusters.join",
}
_GROUPS |= {"clusters.node_actions", "pools.nodes.boot"}
"""Keys that only hold others: they have a heading or their members in the documentation."""


def all_keys(key: Key = KEYS, above: Later | None = None) -> Iterator[tuple[str, Later | None]]:
    """Every key with the marker that counts for it: its own, else that of the key above."""
    for child in key.below.values():
        marker = child.marker or above
        yield child.path, marker
        if child.path != "pools.nodes.settings":  # the keys of a tag, documented there
            yield from all_keys(child, marker)


def documented() -> dict[str, tuple[str, str]]:
    """Each documented key: its default as written, and its effect now."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    return {match[1]: (match[3], match[4]) for line in text.splitlines() if (match := _ROW.fullmatch(line))}


def test_every_key_is_documented_and_no_other() -> None:
    """docs/configuration.md and the schema have the same keys."""
    assert set(documented()) == {path for path, _ in all_keys()} - _GROUPS


def test_the_documented_effect_is_the_schemas() -> None:
    """`later` is warned about, `refused` is refused, `works` has its effect with at least one value."""
    for path, marker in all_keys():
        if path in _GROUPS:
            continue
        _, now = documented()[path]
        if isinstance(marker, NotYet) and not marker.chosen:
            assert now == "refused", path
        elif isinstance(marker, Later) and not isinstance(marker, NotYet):
            assert now == "later", path
        else:
            assert now == "works", path


def test_the_documented_defaults_are_the_schemas() -> None:
    """Where a default is a plain value the documentation names that value."""
    shown = documented()
    assert shown["server.boot_port"][0] == str(schema.Server().boot_port)
    assert shown["server.data_dir"][0] == f"`{schema.Server().data_dir}`"
    assert shown["server.tftp.max_transfers"][0] == str(schema.Tftp().max_transfers)
    assert shown["server.tftp.per_client"][0] == str(schema.Tftp().per_client)
    assert shown["server.boot_limits.connections"][0] == str(schema.BootLimits().connections)
    network = schema.Network.model_validate({"name": "a", "subnet": "10.0.0.0/8"})
    assert (network.lease, shown["networks.lease"][0]) == (12 * 3600, "`12h`")
    assert (network.boot_lease, shown["networks.boot_lease"][0]) == (5 * 60, "`5m`")
    join = schema.Join()
    assert (join.token_ttl, shown["clusters.join.token_ttl"][0]) == (15 * 60, "`15m`")
    assert shown["clusters.join.cri_socket"][0] == f"`{join.cri_socket}`"
    assert shown["pools.node_name"][0] == f"`{schema.Pool().node_name}`"


def test_every_refusal_says_what_to_write_instead() -> None:
    """A key that is not there yet names its remedy."""
    for path, marker in all_keys():
        if isinstance(marker, NotYet):
            assert marker.what, path
            assert marker.remedy, path
