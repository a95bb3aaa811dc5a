"""What a read configuration is: frozen values, one slice per part of the program."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from netboot.config.tls import BootHttps, Certificate
from netboot.model.inventory import INFINITE, Inventory
from netboot.model.manners import Rate

Limit = float
"""A count, or infinite where the operator wrote `unlimited`: compare with it, never convert it."""


@dataclass(frozen=True, slots=True)
class TftpLimits:
    """How many TFTP transfers run at once, in all and per client address."""

    max_transfers: Limit = 500
    per_client: Limit = 64
    single_port: bool = False


_BOOT_REQUESTS = Rate(200, 1.0)


@dataclass(frozen=True, slots=True)
class BootLimits:
    """What one client address may do on the boot port."""

    connections: Limit = 256
    requests: Rate = _BOOT_REQUESTS


@dataclass(frozen=True, slots=True)
class StormLimits:
    """How many machines download images at once, and their bits per second together."""

    max_downloads: Limit = INFINITE
    max_rate: float = INFINITE


@dataclass(frozen=True, slots=True)
class Api:
    """The operators' listener."""

    host: str = "127.0.0.1"
    port: int = 8443
    names: tuple[str, ...] = ()
    """Further Host names that are ours, in lower case."""
    tls: Certificate | None = None
    tokens_file: Path | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this host reaches it."""
        return ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class Server:
    """The appliance itself."""

    interfaces: tuple[str, ...] = ()
    """Where DHCP, TFTP and boot HTTP listen; each interface named by a network where nothing else is said."""
    address: IPv4Address | None = None
    """The address nodes reach us at; None: each listening interface's own."""
    boot_port: int = 80
    user: str | None = None
    """None: `here.accounts` finds the default."""
    helper_user: str | None = None
    workers: int | None = None
    """Bulk processes; None: one per core."""
    data_dir: Path = Path("/var/lib/netboot")
    database: str = "sqlite"
    hosts_file: Path | None = None
    """Names and addresses of all nodes; None: `hosts` in data_dir."""
    images_dir: Path = Path("/srv/netboot/images")
    files_dir: Path = Path("/srv/netboot/files")
    """A missing folder offers nothing."""
    tftp: TftpLimits = TftpLimits()
    boot_https: BootHttps | None = None
    storm: StormLimits = StormLimits()
    boot_limits: BootLimits = BootLimits()


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the configuration names and that is read later; `place` and `key` say where it is named."""

    place: str
    key: str
    path: Path


@dataclass(frozen=True)
class Config:
    """Everything the operator's file says, checked. Immutable; a reload makes another one."""

    files: tuple[Path, ...]
    """Every file that was read, directories and nodes files too: a change of one asks for a reload."""
    server: Server
    api: Api
    inventory: Inventory
    warnings: tuple[str, ...] = ()
    """What a newcomer should know though it stops nothing: keys without effect yet."""
    named_files: tuple[NamedFile, ...] = ()
    """Kubeconfigs, token and password files; `server.user` must be able to read them."""
