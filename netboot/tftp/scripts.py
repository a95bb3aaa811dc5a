"""Control's side of TFTP: the files whose content depends on who asks, and how far each machine came.

GRUB and pxelinux ask for their configuration by names that hold a MAC, a UUID or an address. Who asks is
the machine that the asking address is leased to; a MAC in the name must be that machine's. No script
by TFTP holds a key, and once one was delivered whole, its boot may be claimed without (`session.BY_TFTP`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address

from netboot.askers import Askers
from netboot.boot import ipxe, loaders, session
from netboot.boot.loaders import Loader, Wanted
from netboot.boot.plan import BootPlan, Images, NoBoot, decide
from netboot.boot.session import Asker
from netboot.errors import StoreError
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory, Network, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Client
from netboot.proc import Transfer
from netboot.store import Store

_STEP_OF_FILE = {"vmlinuz": "kernel", "initrd.img": "initrd", "root.squashfs": "squashfs"}
_MAX_REMEMBERED = 4096


class TftpScripts:
    """What the TFTP process asks of control, and what it tells."""

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        catalog: Images,
        store: Store,
        boots: Boots,
        journal: Journal,
        askers: Askers,
        boot_port: int,
    ) -> None:
        self._inventory = inventory
        self._catalog = catalog
        self._store = store
        self._boots = boots
        self._journal = journal
        self._askers = askers
        self._boot_port = boot_port
        self._handed: OrderedDict[tuple[str, str], str] = OrderedDict()  # scripts on their way: whose boot

    async def content(self, name: str, client: str) -> bytes | None:
        """The script of this name for the machine at this address; None: there is none, a file may be.

        Raises StoreError.
        """
        asked, address = loaders.wanted(name), IPv4Address(client)
        network = self._askers.network_of(address)
        if asked is None or network is None or network.address is None:
            return None
        if asked.loader == "ipxe":
            return ipxe.autoexec_script(self._base(network.address)).encode()
        asker = await self._askers.at(address)
        lease = asker.lease
        boot = self._boots.get(lease.boot_id) if lease and lease.boot_id else None
        if lease is None or asked.mac not in (None, lease.mac) or not self._askers.held(lease, boot):
            script = self._for_stranger(asked, address, network)
        else:
            script = await self._for_machine(asked.loader, name, asker, lease, boot, network.address)
        return script.encode("ascii") if script is not None else None

    def _base(self, server: IPv4Address) -> str:
        return ipxe.base_url(server, self._boot_port)

    def _for_stranger(self, asked: Wanted, address: IPv4Address, network: Network) -> str | None:
        """Asked from another address than the leased one: no boot is touched; an explanation for ours."""
        mac = asked.mac
        if mac is None or isinstance(self._inventory().match(Client(mac), [network]), NoMatch):
            return None
        self._refuse(f"{mac} asked from an address that is not leased to it", address)
        reason = f"{address} is not the address that is leased to {mac}"
        remedy = session.whose_address(network)
        assert network.address is not None
        return loaders.wait_script(asked.loader, reason, remedy, server=network.address, mac=mac)

    async def _for_machine(
        self, loader: Loader, name: str, asker: Asker, lease: Lease, boot: Boot | None, server: IPv4Address
    ) -> str:
        mac = lease.mac
        if not session.proved(asker):
            self._refuse(f"{mac} asked, but the link shows another machine there", asker.address)
            reason = session.doubt(asker)
            return loaders.wait_script(loader, reason, server=server, mac=mac)
        found = self._askers.match(mac, lease.network, lease.holder)
        decision = loaders.passable(decide(found, self._catalog, self._inventory().mirrors))
        if isinstance(decision, NoBoot):
            self._nothing(decision, boot)
            return loaders.no_boot_script(loader, decision, server=server, mac=mac)
        if boot is None or boot.ended is not None or await self._store.claim_of(boot.id) is not None:
            reason = "that boot is over, a new one begins"
            return loaders.wait_script(loader, reason, server=server, mac=mac, seconds=2)
        if boot.doubt:
            self._refuse(f"{mac} asked, but {boot.doubt}", asker.address)
            return loaders.wait_script(loader, boot.doubt, session.MEND_IDENTITY, server=server, mac=mac)
        self._planned(name, decision, boot, lease)
        return loaders.machine_script(
            loader, decision, base=self._base(server), server=server, mac=mac, address=lease.address
        )

    def _nothing(self, decision: NoBoot, boot: Boot | None) -> None:
        if boot is not None and not boot.claimed:
            self._boots.step(boot.id, "script", detail=decision.reason)
            self._boots.stop(boot.id, "script", f"{decision.reason}; {decision.remedy}")

    def _planned(self, name: str, plan: BootPlan, boot: Boot, lease: Lease) -> None:
        generation = plan.generation
        self._boots.annotate(boot.id, image=generation.name, generation=generation.id, address=lease.address)
        self._handed[str(lease.address), name] = boot.id
        while len(self._handed) > _MAX_REMEMBERED:
            self._handed.popitem(last=False)

    def _refuse(self, text: str, address: IPv4Address) -> None:
        self._journal.refused("script_refused", text, source=str(address))

    # what the TFTP process tells

    async def transferred(self, transfer: Transfer) -> None:
        """A file on its way to a machine: a step of its boot."""
        if transfer.error is not None:
            self._journal.counters["tftp_unfinished"] += 1
            return
        if loaders.wanted(transfer.name) is not None:
            handed = self._handed.pop((transfer.client, transfer.name), None) if transfer.done else None
            if handed is not None:
                self._boots.step(handed, "script", detail=session.BY_TFTP)
            return
        try:
            lease = await self._store.lease_at(IPv4Address(transfer.client))
        except StoreError as error:
            self._journal.refused("boot_store_failed", f"the store fails: {error}", source=transfer.client)
            return
        if lease is not None and lease.boot_id is not None:
            self._step(lease.boot_id, transfer)

    def _step(self, boot_id: str, transfer: Transfer) -> None:
        image = transfer.name.startswith("images/")
        step = _STEP_OF_FILE.get(transfer.name.rpartition("/")[2]) if image else "program"
        if step is not None:
            detail = session.BY_TFTP if image else f"{transfer.name}, by TFTP"
            self._boots.step(boot_id, step, bytes=transfer.sent, of=transfer.of, detail=detail)
