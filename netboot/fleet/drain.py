"""Drain a node by evictions: one look at its pods at a time, so that it may end anywhere and go on later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netboot.cluster import Evicted, Pod, PodsApi

ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Survey:
    """The pods of a node, by what draining does with them."""

    evict: tuple[Pod, ...] = ()
    ending: tuple[Pod, ...] = ()
    """On their way: they are waited for."""
    alone: tuple[Pod, ...] = ()
    """Nobody would make them again: they go by force alone."""
    stay: int = 0
    """Those of DaemonSets, static pods' mirrors, and such that have ended."""


@dataclass(frozen=True, slots=True)
class Round:
    """How far one round of evictions came."""

    left: int
    """Pods that are still to go."""
    text: str
    pause: float = 1.0
    """Seconds until it is worth looking again."""
    refused: bool = False
    """Pods without a controller are there, and no force."""


def survey(pods: Sequence[Pod], *, alive: bool = True) -> Survey:
    """Sort the pods of a node; of a node that is not `alive` nothing that is ending is waited for."""
    moved = [pod for pod in pods if not _stays(pod)]
    stay = sum(_stays(pod) for pod in pods)
    ending = tuple(pod for pod in moved if pod.ending)
    rest = [pod for pod in moved if not pod.ending]
    return Survey(
        evict=tuple(pod for pod in rest if pod.controller),
        ending=ending if alive else (),
        alone=tuple(pod for pod in rest if not pod.controller),
        stay=stay,
    )


async def drain_once(api: PodsApi, node: str, *, alive: bool, force: bool) -> Round:
    """Ask for the eviction of every pod that has to go; PodDisruptionBudgets decide. Raises ClusterError."""
    found = survey(await api.pods_on(node), alive=alive)
    if found.alone and not force:
        return Round(len(found.alone), _alone(found.alone), refused=True)
    held: list[tuple[Pod, Evicted]] = []
    asked = (*found.evict, *found.alone)
    for pod in asked:
        answer = await api.evict(pod)
        if answer.state == "held":
            held.append((pod, answer))
    left = len(asked) + len(found.ending)
    if not left:
        return Round(0, f"drained; {found.stay} pods of DaemonSets, mirrors or ended ones stay")
    if held:
        pod, answer = held[0]
        pause = max(1.0, min(each.retry_after for _, each in held))
        why = answer.reason or "a PodDisruptionBudget holds it"
        return Round(left, f"{len(held)} pods are held, first {pod.namespace}/{pod.name}: {why}", pause)
    pod = (*found.ending, *asked)[0]
    return Round(left, f"waits for evicted pods to end, first {pod.namespace}/{pod.name}")


def _stays(pod: Pod) -> bool:
    return pod.mirror or pod.controller == "DaemonSet" or pod.phase in ENDED


def _alone(pods: tuple[Pod, ...]) -> str:
    names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:5])
    more = f" and {len(pods) - 5} more" if len(pods) > 5 else ""
    return f"pods without a controller would be lost: {names}{more}; --force evicts them, too"
