"""What a cluster's examination and held names look like in an answer; see `shapes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netboot.model.binding import Binding
from netboot.model.finding import STATES, Finding
from netboot.web.api.schema import FLAG, TEXT, Json, optional, shape

FINDING = shape(state={"type": "string", "enum": list(STATES)}, what=TEXT, remedy=TEXT)
EXAMINATION = shape(cluster=TEXT, healthy=FLAG, findings={"type": "array", "items": FINDING})
HOLD = shape(cluster=TEXT, node=TEXT, mac=TEXT, address=optional(TEXT), boot=TEXT, token=TEXT, why=TEXT)


def examination(cluster: str, findings: Sequence[Finding]) -> Json:
    """What is missing, too much or wrong in a cluster, the worst first."""
    shown = [{"state": f.state, "what": f.what, "remedy": f.remedy} for f in findings]
    return {"cluster": cluster, "healthy": not any(f.bad for f in findings), "findings": shown}


def hold(value: Binding) -> Json:
    """A node's name that is held, because a token that was made for it was misused."""
    return {
        "cluster": value.cluster,
        "node": value.node,
        "mac": value.mac,
        "address": str(value.address) if value.address else None,
        "boot": value.boot_id,
        "token": value.token_id,
        "why": value.alarm,
    }


SCHEMAS: Mapping[str, Json] = {"Examination": EXAMINATION, "Hold": HOLD}
"""By the noun that routes name."""
