"""What every part of the boot port works with: whom it asks, and where machines reach us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netboot.askers import Askers
from netboot.boot import ipxe
from netboot.boot.plan import Images
from netboot.events import Boots, Journal
from netboot.model.inventory import Inventory
from netboot.store import Store
from netboot.web.exchange import Request


@dataclass(frozen=True, slots=True)
class Https:
    """HTTPS beside the boot port: its port, and the CA that a seed tells its machine to trust (PEM or empty).

    With a CA, nodes claim and report over HTTPS; without one they cannot check it and stay with HTTP.
    """

    port: int
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """The singletons of the boot port."""

    inventory: Callable[[], Inventory]
    """The operator's file as it is in force now."""
    catalog: Images
    store: Store
    boots: Boots
    journal: Journal
    askers: Askers
    clock: Callable[[], float]
    """Seconds since the epoch."""
    secret: bytes = field(repr=False)
    """The secret of data_dir that boot keys and sessions are derived from."""
    boot_port: int
    https: Https | None

    def base(self, request: Request, *, secure: bool = False) -> str:
        """Our URL as its network has it: HTTPS where the request came so, or where `secure` asks."""
        if self.https is not None and (secure or request.secure):
            return ipxe.base_url(self._own_address(request), self.https.port, secure=True)
        return self.plain_base(request)

    def plain_base(self, request: Request) -> str:
        """Our URL by HTTP, whatever the request came by."""
        return ipxe.base_url(self._own_address(request), self.boot_port)

    def _own_address(self, request: Request) -> IPv4Address:
        """Where this machine reaches us: from the file or the socket, never from Host."""
        networks = self.inventory().networks.values()
        ours = [n.address for n in networks if n.address and request.client in n.subnet]
        return ours[0] if ours else request.local
