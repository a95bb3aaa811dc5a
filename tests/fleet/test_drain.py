"""Which pods go, which stay, and what one round of evictions says."""

from __future__ import annotations

from collections.abc import Sequence

from netboot.cluster import Evicted, Pod
from netboot.fleet.drain import drain_once, survey

WEB = Pod("default", "web", "u1", "ReplicaSet")
LONE = Pod("default", "lone", "u2")


class Node:
    """A node with these pods, and what evictions are answered."""

    def __init__(self, *pods: Pod, **answers: Evicted) -> None:
        self.pods = pods
        self.answers = answers
        self.asked: list[str] = []

    async def pods_on(self, node: str) -> Sequence[Pod]:
        """All of them."""
        return self.pods

    async def evict(self, pod: Pod) -> Evicted:
        """As the test has it."""
        self.asked.append(pod.name)
        return self.answers.get(pod.name, Evicted("evicted"))


def test_daemons_mirrors_and_what_has_ended_stay() -> None:
    """The rest goes, or is on its way; what nobody makes again stands apart."""
    pods = (
        WEB,
        LONE,
        Pod("kube-system", "cni", "u3", "DaemonSet"),
        Pod("kube-system", "proxy", "u4", mirror=True),
        Pod("default", "job", "u5", "Job", phase="Succeeded"),
        Pod("default", "going", "u6", "ReplicaSet", ending=True),
    )
    found = survey(pods)
    assert (found.evict, found.alone, found.stay) == ((WEB,), (LONE,), 3)
    assert [pod.name for pod in found.ending] == ["going"]
    assert survey(pods, alive=False).ending == ()


async def test_without_force_nothing_is_asked_for_while_a_pod_would_be_lost() -> None:
    """It is named; with force it goes, too."""
    node = Node(WEB, LONE)
    refused = await drain_once(node, "m1", alive=True, force=False)
    assert refused.refused and "default/lone" in refused.text and node.asked == []
    forced = await drain_once(node, "m1", alive=True, force=True)
    assert (forced.left, node.asked) == (2, ["web", "lone"])
    many = Node(*(Pod("a", f"p{number}", str(number)) for number in range(7)))
    assert "and 2 more" in (await drain_once(many, "m1", alive=True, force=False)).text


async def test_what_a_budget_holds_is_named_and_asked_again_when_it_said() -> None:
    """The others went."""
    held = Evicted("held", "the budget needs 2", 7.0)
    found = await drain_once(Node(WEB, Pod("a", "b", "c", "Job"), web=held), "m1", alive=True, force=False)
    assert (found.left, found.pause) == (2, 7.0)
    assert found.text == "1 pods are held, first default/web: the budget needs 2"


async def test_a_node_without_pods_is_drained() -> None:
    """Those of a node that is not Ready end never: they are not waited for. What is waited for is named."""
    ending = Pod("default", "going", "u6", "ReplicaSet", ending=True)
    found = await drain_once(Node(ending), "m1", alive=True, force=False)
    assert (found.left, found.text) == (1, "waits for evicted pods to end, first default/going")
    assert (await drain_once(Node(ending), "m1", alive=False, force=False)).left == 0
