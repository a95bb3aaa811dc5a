"""The operator's words for each refusal: what was wrong, where, what to do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.cluster import NodeObject
from netboot.errors import ClusterRefused
from netboot.join import JoinRequest, reasons
from netboot.model.inventory import Cluster
from netboot.model.machine import Mac

LIVING = NodeObject("m1", "uid", "1", 0.0, "True", system_uuid="u-2", addresses=("10.77.0.21", "m1"))
REQUEST = JoinRequest("boot-1", "m1", Mac("52:54:00:12:34:56"), Cluster("blue", "192.0.2.1:6443"))


def test_every_reason_names_its_cluster_or_node_in_one_line() -> None:
    """They are shown on consoles and in `netboot boot show`."""
    texts = [
        reasons.still_ready(REQUEST, 12.4),
        reasons.impostor(REQUEST, LIVING),
        reasons.no_authority(REQUEST),
        reasons.wrong_authority(REQUEST, ("sha256:aa",), ("sha256:bb",)),
        reasons.wrong_signature(REQUEST),
        reasons.unsigned(REQUEST, None, 2.0),
        reasons.unsigned(REQUEST, 3600.0, 2.0),
        *(reasons.refusal(REQUEST, ClusterRefused(code, "because")) for code in (401, 403, 404, 422)),
    ]
    assert not [t for t in texts if "\n" in t or len(t) > 500 or ("blue" not in t and "Node m1" not in t)]


@pytest.mark.parametrize(
    ("skew", "expected"),
    [(None, "bootstrapsigner"), (20.0, "bootstrapsigner"), (-3600.0, "bootstrapsigner"), (1000.0, "NTP")],
)
def test_a_missing_signature_is_blamed_on_the_clock_only_where_it_explains_it(
    skew: float | None, expected: str
) -> None:
    """A server whose clock is behind does not expire a token early."""
    assert expected in reasons.unsigned(REQUEST, skew, 2.0)


def test_an_impostor_is_named_by_card_and_address() -> None:
    """So that it can be found; and so is the machine that lives under the name, by its Node object."""
    asks = JoinRequest("b", "m1", REQUEST.mac, REQUEST.cluster, "u-1", IPv4Address("10.77.0.66"))
    text = reasons.impostor(asks, LIVING)
    assert "52:54:00:12:34:56 at 10.77.0.66 (UUID u-1) asks" in text
    assert "another machine (UUID u-2) at 10.77.0.21, m1 lives" in text
    bare = reasons.impostor(REQUEST, replace(LIVING, system_uuid="", addresses=()))
    assert "an unknown address asks" in bare and "another machine lives" in bare
