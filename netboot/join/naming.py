"""Is a node's name free in its cluster (R19), and is the cluster the pinned one (R14)?"""

from __future__ import annotations

import logging
from collections.abc import Callable

from netboot.cluster import ClusterApi, NodeObject
from netboot.errors import ClusterRefused
from netboot.join import JoinRequest, JoinWithheld, reasons
from netboot.join.pins import pins_of
from netboot.join.presence import Living, Presence, Undecided
from netboot.store import BindingStore

log = logging.getLogger("netboot.join")

Alarm = Callable[[JoinRequest, str], None]
"""Tells the operator of somebody who asks for a name that is taken."""


class Naming:
    """Lets one machine at a time live under a node's name."""

    def __init__(self, presence: Presence, store: BindingStore, *, alarm: Alarm) -> None:
        self._presence = presence
        self._store = store
        self._alarm = alarm

    async def free(self, api: ClusterApi, request: JoinRequest, now: float) -> NodeObject | None:
        """The Node object that stands under the name and is not Ready, None where there is none.

        Raises JoinWithheld while another machine lives there, or may, or while the name is held (R7).
        """
        for held in await self._store.holds():
            if (held.cluster, held.node) == (request.cluster.name, request.node):
                raise JoinWithheld(reasons.held(request, held), 15.0)
        node = await api.node(request.node)
        if node is None or node.ready != "True":
            return node
        verdict = await self._presence.verdict(request.cluster.name, request.node, request.boot_id)
        if isinstance(verdict, Living):
            raise self._impostor(request, node)
        if isinstance(verdict, Undecided):
            text = reasons.still_ready(request, verdict.seconds)
            raise JoinWithheld(text, min(5.0, max(1.0, verdict.seconds)))
        if not request.cluster.node_actions.mark_unknown:
            raise JoinWithheld(reasons.not_marked(request), 5.0)
        try:
            await api.mark_unknown(node, now)
        except ClusterRefused as error:
            if error.status not in (404, 409, 422):
                raise
            raise JoinWithheld(reasons.CHANGED, 2.0) from None
        log.info("node %s came back while its Node object was Ready: set to Unknown", request.node)
        return node

    def _impostor(self, request: JoinRequest, node: NodeObject) -> JoinWithheld:
        text = reasons.impostor(request, node)
        self._alarm(request, text)
        return JoinWithheld(text, None)


async def pinned(api: ClusterApi, request: JoinRequest) -> tuple[str, ...]:
    """R14: the pins of the authority that cluster-info shows, each of them one that our kubeconfig trusts."""
    ours = pins_of(await api.authority())
    shown = pins_of((await api.cluster_info()).ca)
    if not shown:
        raise JoinWithheld(reasons.no_authority(request), None)
    if not set(shown) <= set(ours):
        raise JoinWithheld(reasons.wrong_authority(request, shown, ours), None)
    return shown


async def trusted(api: ClusterApi, request: JoinRequest) -> bytes:
    """R14 without kubeadm: the authority that our kubeconfig trusts, in PEM, for the node to trust it too.

    Many such clusters have no cluster-info; where there is one it has to show no other authority.
    """
    authority = await api.authority()
    if not pins_of(authority):
        raise JoinWithheld(reasons.unknown_authority(request), None)
    try:
        shown = pins_of((await api.cluster_info()).ca)
    except ClusterRefused as error:
        if error.status not in (403, 404):
            raise
        return authority
    if not set(shown) <= set(ours := pins_of(authority)):
        raise JoinWithheld(reasons.wrong_authority(request, shown, ours), None)
    return authority
