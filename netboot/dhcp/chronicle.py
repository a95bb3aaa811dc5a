"""What is told of an answer: the machine's boot and its steps, counters, and events for operators."""

from __future__ import annotations

from collections.abc import Callable

from netboot.dhcp.engine import Claim, Reply
from netboot.dhcp.identity import contradiction
from netboot.dhcp.profile import Profile
from netboot.dhcp.wire import Kind
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.inventory import Node
from netboot.model.machine import Client, Speaker

RECEIVED = ("", *(f"dhcp_received_{kind.name.lower()}" for kind in Kind))
SENT = ("", *(f"dhcp_sent_{kind.name.lower()}" for kind in Kind))
"""The journal's counters of messages by their kind."""


class Chronicle:
    """Keeps boots and journal told of what DHCP does."""

    def __init__(self, boots: Boots, journal: Journal) -> None:
        self.on_boot: list[Callable[[Boot], None]] = []
        """Called with each boot that a DISCOVER opens."""
        self._boots = boots
        self._journal = journal

    def boot(
        self, kind: Kind, client: Client, profile: Profile, now: float, forgeable: str = ""
    ) -> Boot | None:
        """The machine's newest boot; a DISCOVER of firmware opens one where it is time to.

        A REQUEST of firmware without any boot belongs to one that was lost when we were restarted. What is
        `forgeable` (see `origin`) neither follows a claimed boot nor changes what is believed of one under
        way; a boot that it opens is doubted for that reason.
        """
        assignment = profile.assignment
        current = self._boots.of_node(assignment.name)
        if client.speaker is Speaker.SYSTEM:
            return current
        opens = kind is Kind.DISCOVER or (kind is Kind.REQUEST and current is None)
        if opens and forgeable:
            self._doubted(client, assignment.name, forgeable)
            if current is not None and current.claimed:
                return current
        boot = current
        if opens:
            boot = self._boots.discovered(
                client.mac,
                node=assignment.name,
                cluster=assignment.cluster.name,
                now=now,
                declared=assignment.node is not None,
            )
            if current is None or boot.id != current.id:
                self._believe(boot, forgeable)
                for observer in self.on_boot:
                    observer(boot)
        if boot is not None and not forgeable:
            self._doubt(boot, client, assignment.node, profile)
        return boot

    def _doubt(self, boot: Boot, client: Client, node: Node | None, profile: Profile) -> None:
        """Whether this machine fits in all that its node is declared with: what it says last counts."""
        further = node is not None and node.known_further
        doubt = contradiction(client, node, profile.network) if node is not None and further else ""
        self._believe(boot, doubt)
        if doubt:
            self._doubted(client, profile.assignment.name, doubt)

    def _believe(self, boot: Boot, doubt: str) -> None:
        if doubt != boot.doubt and not boot.claimed:
            self._boots.annotate(boot.id, doubt=doubt)

    def _doubted(self, client: Client, name: str, doubt: str) -> None:
        text = f"{client.mac} is {name} by its MAC, but {doubt}: it gets an address and no secret"
        self._journal.refused("dhcp_identity_doubted", text, source=client.mac)

    def step(self, boot: Boot | None, client: Client, step: str, detail: str) -> None:
        """A step of a boot; a running system's packets are none."""
        if boot is not None and client.speaker is not Speaker.SYSTEM:
            self._boots.step(boot.id, step, detail=detail)

    def sent(
        self, reply: Reply, client: Client, profile: Profile, boot: Boot | None, unwritten: str = ""
    ) -> None:
        """This reply has left; `unwritten` is why its lease is not on disk."""
        self._journal.counters[SENT[reply.kind]] += 1
        if reply.kind is Kind.NAK:
            text = f"{profile.assignment.name} ({client.mac}) was refused: {reply.boots}"
            self._journal.refused("dhcp_nak", text, source=client.mac)
            return
        if boot is not None and client.speaker is not Speaker.SYSTEM and reply.address is not None:
            self._followed(reply, boot, unwritten)
        if reply.dropped:
            codes = ", ".join(map(str, reply.dropped))
            name = profile.assignment.name
            text = f"{name} gets no option {codes}: the largest message that it takes has no room"
            self._journal.refused("dhcp_options_dropped", text, source=name)
        claim = reply.claim
        if claim is not None and not unwritten and _gives(claim):
            address = str(claim.lease.address)
            text = f"{profile.assignment.name} has {address}"
            self._journal.note("dhcp_lease", text, mac=client.mac, address=address)

    def _followed(self, reply: Reply, boot: Boot, unwritten: str) -> None:
        step = "offer" if reply.kind is Kind.OFFER else "ack"
        detail = f"{reply.address} {reply.boots}" + (f"; {unwritten}" if unwritten else "")
        self._boots.step(boot.id, step, detail=detail)
        self._boots.followed(boot.id, reply.quirks)
        if step == "ack":
            self._boots.annotate(boot.id, address=reply.address)


def _gives(claim: Claim) -> bool:
    """Whether the machine has not had this address before."""
    seen, lease = claim.seen, claim.lease
    return seen is None or (seen.address is not lease.address and seen.address != lease.address)
