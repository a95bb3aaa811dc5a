"""Prometheus' text format (version 0.0.4): counters, boots, leases, processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from netboot.model.boot import Boot
from netboot.model.lease import Lease
from netboot.proc import ProcessInfo

Sample = tuple[Mapping[str, str], float]


def render(
    version: str,
    counters: Mapping[str, int],
    boots: Iterable[Boot],
    leases: Iterable[Lease],
    processes: Sequence[ProcessInfo],
    now: float,
) -> str:
    """All metrics as one text."""
    states = Counter({"booting": 0, "joined": 0, "stopped": 0})
    states.update(boot.state for boot in boots)
    held = Counter((lease.network, "live" if lease.live(now) else "expired") for lease in leases)
    families = [
        _family("netboot_build_info", "gauge", "The version.", [({"version": version}, 1)]),
        _family("netboot_events_total", "counter", "What happened, by kind.", _by("kind", counters)),
        _family("netboot_boots", "gauge", "Boots that are remembered, by state.", _by("state", states)),
        _family(
            "netboot_leases",
            "gauge",
            "Leases by network and state.",
            [({"network": network, "state": state}, n) for (network, state), n in sorted(held.items())],
        ),
        _family(
            "netboot_process_restarts_total",
            "counter",
            "Unplanned ends of helper processes.",
            [(_labels(p), p.restarts) for p in processes],
        ),
        _family(
            "netboot_process_connections",
            "gauge",
            "Connections or transfers that a helper process serves now.",
            [(_labels(p), p.connections) for p in processes],
        ),
    ]
    return "".join(families)


def _by(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: name}, number) for name, number in sorted(counts.items())]


def _labels(process: ProcessInfo) -> dict[str, str]:
    return {"kind": str(process.kind), "index": str(process.index), "state": str(process.state)}


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(val)}"' for key, val in labels.items())
        lines.append(f"{name}{{{shown}}} {value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
