"""Prometheus' text format (version 0.0.4): counters, boots, leases, operations, processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from netboot.model.boot import Boot
from netboot.model.lease import Lease, Usage
from netboot.model.operation import Operation
from netboot.proc import ProcessInfo

Sample = tuple[Mapping[str, str], float]


def render(
    version: str,
    counters: Mapping[str, int],
    boots: Iterable[Boot],
    leases: Iterable[Lease],
    pools: Mapping[str, Usage],
    processes: Sequence[ProcessInfo],
    now: float,
    operations: Sequence[Operation] = (),
) -> str:
    """All metrics as one text; `pools` are the networks' dynamic ranges."""
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
        *_pools(pools, now),
        *_operations(operations, now),
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


def _pools(pools: Mapping[str, Usage], now: float) -> Iterator[str]:
    rows: tuple[tuple[str, str, Callable[[Usage], float]], ...] = (
        ("size", "Dynamic addresses that machines can get, by network.", lambda u: u.size),
        ("used", "Dynamic addresses whose holders show life.", lambda u: u.used),
        ("free", "Dynamic addresses that a new machine may get.", lambda u: u.free),
        ("resting", "Dynamic addresses that rest, because somebody else uses them.", lambda u: u.resting),
        (
            "exhausted_seconds",
            "How long machines have been turned away for want of an address; 0 where there are any.",
            lambda u: 0 if u.exhausted_since is None else round(max(0.0, now - u.exhausted_since), 1),
        ),
    )  # fmt: skip
    for name, text, value in rows:
        samples = [({"network": network}, value(usage)) for network, usage in sorted(pools.items())]
        yield _family(f"netboot_pool_{name}", "gauge", text, samples)


def _operations(operations: Sequence[Operation], now: float) -> Iterator[str]:
    under_way = [o for o in operations if o.ended is None]
    counts = Counter((o.state, "" if o.ended is not None else o.step) for o in operations)
    yield _family(
        "netboot_operations",
        "gauge",
        "Reassignments that are remembered, by state; those under way also by the step that they are at.",
        [({"state": state, "step": step}, n) for (state, step), n in sorted(counts.items())],
    )
    yield _family(
        "netboot_operation_oldest_seconds",
        "gauge",
        "How long the oldest reassignment that is under way has been; 0 where there is none.",
        [({}, round(max((now - o.started for o in under_way), default=0.0), 1))],
    )


def _by(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: name}, number) for name, number in sorted(counts.items())]


def _labels(process: ProcessInfo) -> dict[str, str]:
    return {"kind": str(process.kind), "index": str(process.index), "state": str(process.state)}


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(val)}"' for key, val in labels.items())
        lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
