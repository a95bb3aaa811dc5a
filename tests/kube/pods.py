"""Pods: how they end, and the evictions that a PodDisruptionBudget holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.kube import status
from tests.kube.controllers import Settings
from tests.kube.objects import Key, Objects, require, stamp
from tests.kube.selecting import Matches
from tests.kube.status import ApiError, Json

GRACE = 30
"""Seconds that a pod has to end where it says nothing else."""

OVER = ("Succeeded", "Failed")


@dataclass
class Pods:
    """The pods of a cluster."""

    objects: Objects
    settings: Settings

    def delete(self, key: Key, options: Json) -> Json:
        """A pod on a node is ending until its kubelet is done with it; raises 404, 409."""
        pod = self.objects.get(key)
        require(key, pod, options.get("preconditions"))
        seconds = options.get("gracePeriodSeconds")
        if seconds is None:
            seconds = pod.get("spec", {}).get("terminationGracePeriodSeconds", GRACE)
        if not seconds or not pod.get("spec", {}).get("nodeName") or _phase(pod) in OVER:
            return self.objects.delete(key)
        if not pod["metadata"].get("deletionTimestamp"):
            at = stamp(self.objects.now() + seconds)
            pod["metadata"].update(deletionTimestamp=at, deletionGracePeriodSeconds=seconds)
            pod = self.objects.replace(key, pod)
            delay = min(float(seconds), self.settings.pod_end)
            asyncio.get_running_loop().call_later(delay, self._ended, key, pod["metadata"]["uid"])
        return pod

    def _ended(self, key: Key, uid: str) -> None:
        try:
            self.objects.delete(key, {"uid": uid})
        except ApiError:
            pass  # somebody was faster

    def evict(self, key: Key, eviction: Json) -> Json:
        """An Eviction; raises 404, 409, 429 where a budget holds it, 500 where there are several."""
        pod = self.objects.get(key)
        options = eviction.get("deleteOptions") or {}
        require(key, pod, options.get("preconditions"))
        ending = pod["metadata"].get("deletionTimestamp") or _phase(pod) in (*OVER, "Pending")
        if not ending:
            self._ask_budget(pod)
        self.delete(key, options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _ask_budget(self, pod: Json) -> None:
        namespace = pod["metadata"]["namespace"]
        budgets = [b for b in self.objects.list("poddisruptionbudgets", namespace) if selects(b["spec"])(pod)]
        if len(budgets) > 1:
            raise status.internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
                "support."
            )
        for budget in budgets:
            name = budget["metadata"]["name"]
            if self.settings.budget_unseen:
                raise status.held(
                    f"The disruption budget {name} is still being processed by the server.", retry_after=10
                )
            wanted, healthy = self.healthy(budget)
            allowed = healthy > wanted or (not is_healthy(pod) and healthy >= wanted > 0)
            if not allowed:
                raise status.held(
                    f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
                )

    def healthy(self, budget: Json) -> tuple[int, int]:
        """How many healthy pods a budget wants, and how many there are."""
        spec = budget["spec"]
        chosen = selects(spec)
        pods = [p for p in self.objects.list("pods", budget["metadata"]["namespace"]) if chosen(p)]
        pods = [p for p in pods if _phase(p) not in OVER]
        if "minAvailable" in spec:
            wanted = _share(spec["minAvailable"], len(pods))
        else:
            wanted = max(len(pods) - _share(spec.get("maxUnavailable", 1), len(pods)), 0)
        return wanted, sum(is_healthy(p) for p in pods)


def selects(spec: Json) -> Matches:
    """What the selector of a budget lets through; an empty one everything."""
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    return lambda pod: wanted.items() <= (pod["metadata"].get("labels") or {}).items()


def is_healthy(pod: Json) -> bool:
    """Ready, and not ending."""
    ready = [c.get("status") for c in pod.get("status", {}).get("conditions") or () if c["type"] == "Ready"]
    return ready == ["True"] and not pod["metadata"].get("deletionTimestamp")


def _phase(pod: Json) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def _share(value: int | str, of: int) -> int:
    """A number, or a percentage rounded up."""
    return -(-int(str(value).rstrip("%")) * of // 100) if str(value).endswith("%") else int(value)
