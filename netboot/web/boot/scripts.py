"""The scripts that iPXE asks for: what this machine boots, or what keeps it from booting."""

from __future__ import annotations

from ipaddress import IPv4Address

from netboot.boot import ipxe, session
from netboot.boot.key import boot_key
from netboot.boot.plan import BootPlan, NoBoot, decide
from netboot.boot.stall import DISK
from netboot.errors import StoreError
from netboot.model.boot import Boot
from netboot.model.inventory import NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Client, Mac, uuid_of
from netboot.web.boot.answers import script_answer
from netboot.web.boot.known import KnownScripts
from netboot.web.boot.queue import DownloadQueue
from netboot.web.boot.site import Site
from netboot.web.exchange import Request, Response
from netboot.web.http1 import Head


class Scripts:
    """Always 200 with a script: iPXE shows a person nothing of an error's text."""

    def __init__(self, site: Site, queue: DownloadQueue) -> None:
        self._site = site
        self._queue = queue
        self._known = KnownScripts(
            inventory=site.inventory,
            catalog=site.catalog,
            boots=site.boots,
            askers=site.askers,
            clock=site.clock,
        )

    async def boot_script(self, request: Request) -> Response:
        """The script that makes iPXE report itself; the same for everybody."""
        return script_answer(ipxe.boot_script(self._site.base(request)))

    async def autoexec(self, request: Request) -> Response:
        """The script that iPXE looks for beside its own program."""
        return script_answer(ipxe.autoexec_script(self._site.base(request)))

    def known(self, head: Head, client: IPv4Address) -> Response | None:
        """The script of a machine that asked for it before, while nothing that it says has changed."""
        if head.path != "/ipxe" or head.method != "GET":
            return None
        text = self._known.find(client, head.raw_target)
        return script_answer(text) if text is not None else None

    async def script(self, request: Request) -> Response:
        """The machine's script."""
        base = self._site.base(request)
        try:
            return script_answer(await self._script_for(request, base))
        except StoreError as error:
            source = str(request.client)
            self._site.journal.refused("boot_store_failed", f"the store fails: {error}", source=source)
            return script_answer(ipxe.wait_script("the appliance cannot read what it remembers", base=base))

    async def _script_for(self, request: Request, base: str) -> str:
        site = self._site
        try:
            mac = Mac(request.head.query.get("mac", ""))
        except ValueError:
            self._refuse("a script was asked for without a MAC address", request.client)
            return ipxe.wait_script("this machine did not say its MAC address", base=base)
        asker = await site.askers.at(request.client)
        lease = asker.lease
        boot = site.boots.get(lease.boot_id) if lease and lease.boot_id else None
        if lease is None or lease.mac != mac or not site.askers.held(lease, boot):
            claims = Client(mac, uuid=uuid_of(request.head.query.get("uuid", "")))
            return self._script_for_stranger(claims, request.client, base)
        if not session.proved(asker):
            reason = session.doubt(asker)
            self._refuse(f"{mac} asked, but {reason}", request.client)
            return ipxe.wait_script(reason, base=base, seconds=10, renew=True)
        found = site.askers.match(mac, lease.network, lease.holder)
        decision = decide(found, site.catalog, site.inventory().mirrors)
        if isinstance(decision, NoBoot):
            if boot is not None and not boot.claimed:
                site.boots.step(boot.id, "script", detail=decision.reason)
                site.boots.stop(boot.id, "script", f"{decision.reason}; {decision.remedy}")
            return ipxe.no_boot_script(decision, base=base)
        if boot is None or boot.ended is not None or await site.store.claim_of(boot.id) is not None:
            return ipxe.wait_script("that boot is over, a new one begins", base=base, seconds=2, renew=True)
        if boot.doubt:
            self._refuse(f"{mac} asked, but {boot.doubt}", request.client)
            return ipxe.wait_script(
                boot.doubt, base=base, remedy=session.MEND_IDENTITY, seconds=30, renew=True
            )
        if wait := self._queue.enter(request.client, boot.id, "script"):
            remedy = "server.storm sets how many download at once"
            return ipxe.wait_script(str(wait), base=base, remedy=remedy, seconds=wait.seconds, renew=True)
        return self._planned(request, base, lease, boot, decision)

    def _planned(self, request: Request, base: str, lease: Lease, boot: Boot, plan: BootPlan) -> str:
        """The script that boots it, with the key of this boot."""
        site, generation = self._site, plan.generation
        site.boots.annotate(boot.id, image=generation.name, generation=generation.id, address=lease.address)
        site.boots.step(boot.id, "script")
        text = ipxe.machine_script(
            plan,
            base=base,
            key=boot_key(site.secret, boot.id),
            mac=lease.mac,
            address=lease.address,
            plain=site.plain_base(request),
        )
        if not self._queue.limited and not request.secure:
            self._known.keep(request.client, request.head.raw_target, lease, boot.id, plan, text)
        return text

    def _script_for_stranger(self, claims: Client, client: IPv4Address, base: str) -> str:
        """Asked from another address than the leased one: no seed, no boot touched, an explanation."""
        inventory = self._site.inventory()
        networks = [n for n in inventory.networks.values() if client in n.subnet]
        mac, assignment = claims.mac, inventory.match(claims, networks)
        if isinstance(assignment, NoMatch):
            self._refuse(f"{mac}: {assignment.reason}", client)
            decision = decide(assignment, self._site.catalog)
            assert isinstance(decision, NoBoot)
            return ipxe.no_boot_script(decision, base=base)
        if self._unwritten(assignment.name, client):
            remedy = "free space on the disk of data_dir; this machine asks again by itself"
            return ipxe.wait_script(DISK, base=base, remedy=remedy, seconds=10, renew=True)
        self._refuse(f"{mac} asked from an address that is not leased to it", client)
        reason = f"{client} is not the address that is leased to {mac}"
        remedy = session.whose_address(assignment.network)
        return ipxe.wait_script(reason, base=base, remedy=remedy, seconds=10, renew=True)

    def _unwritten(self, node: str, client: IPv4Address) -> bool:
        """Whether DHCP acknowledged this address to the node though its lease could not be written."""
        boot = self._site.boots.of_node(node)
        ack = boot.step("ack") if boot else None
        return boot is not None and ack is not None and boot.address == client and DISK in ack.detail

    def _refuse(self, text: str, client: IPv4Address) -> None:
        self._site.journal.refused("script_refused", text, source=str(client))
