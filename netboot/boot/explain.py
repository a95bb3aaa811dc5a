"""What one machine would be answered at each step of a boot, and why: pure, offline, secrets hidden."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.boot import explain_loaders, ipxe
from netboot.boot.firmware import FirstStage, NoProgram, first_stage
from netboot.boot.loaders import Loader
from netboot.boot.plan import BootPlan, Images, decide
from netboot.boot.quirks import BY_ID, HTTP, resolve
from netboot.dhcp.admission import refusal
from netboot.dhcp.options import BY_CODE, client_of
from netboot.dhcp.wire import Op, Packet
from netboot.model.inventory import INFINITE, Assignment, BootOverride, Inventory, Network, NoMatch
from netboot.model.machine import Arch, Client, Mac, Speaker
from netboot.model.settings import Settings

ARCHITECTURES = {
    "bios": (Speaker.PXE, Arch.BIOS),
    "uefi": (Speaker.PXE, Arch.EFI_X64),
    "uefi-http": (Speaker.HTTP, Arch.EFI_X64_HTTP),
    "uefi-arm64": (Speaker.PXE, Arch.EFI_ARM64),
    "uefi-arm64-http": (Speaker.HTTP, Arch.EFI_ARM64_HTTP),
    "uefi-ia32": (Speaker.PXE, Arch.EFI_IA32),
    "u-boot-arm64": (Speaker.PXE, Arch.UBOOT_ARM64),
    "ipxe": (Speaker.IPXE, Arch.EFI_X64),
}
"""The names of `--arch`, and what such a machine says on the wire."""

USUAL = ("bios", "uefi", "uefi-http", "ipxe")
"""What is shown where no architecture is asked for."""

_CLASSES = {Speaker.PXE: "PXEClient", Speaker.HTTP: "HTTPClient", Speaker.IPXE: "PXEClient"}


@dataclass(frozen=True, slots=True)
class Said:
    """What the machine is taken to say: architectures by name, and what it would say otherwise of itself."""

    architectures: Sequence[str] = ()
    """Names of `ARCHITECTURES`; none: the usual ones, or what `vendor_class` says."""
    vendor_class: str = ""
    """Option 60 instead of the architecture's."""
    user_class: str = ""
    """Option 77 instead of the architecture's."""

    def clients(self, mac: Mac) -> list[tuple[str, Client]]:
        """What we would read from such packets, each under the name of its architecture."""
        if self.vendor_class and not self.architectures:
            return [("as told", self._client(mac, {}))]
        return [(name, self._client(mac, _options(name))) for name in self.architectures or USUAL]

    def _client(self, mac: Mac, options: dict[int, bytes]) -> Client:
        if self.vendor_class:
            options[60] = self.vendor_class.encode()
        if self.user_class:
            options[77] = self.user_class.encode()
        return client_of(Packet(Op.REQUEST, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, mac.packed(), b"", b"", options))


def _options(name: str) -> dict[int, bytes]:
    """What such a machine says of itself: options 60 and 93, for iPXE 77, and 175 with the feature HTTP."""
    speaker, arch = ARCHITECTURES[name]
    options = {60: f"{_CLASSES[speaker]}:Arch:{arch:05}:UNDI:003000".encode(), 93: arch.to_bytes(2, "big")}
    return options | ({77: b"iPXE", 175: bytes((HTTP, 1, 1))} if speaker is Speaker.IPXE else {})


_UNKNOWN = IPv4Address("192.0.2.1")  # stands for an address that only the host knows (RFC 5737)
_WIDTH = 14


def explain(
    inventory: Inventory,
    catalog: Images,
    mac: Mac,
    *,
    boot_port: int,
    said: Said = Said(),
    provided: Container[str] = (),
    loaders: Sequence[Loader] = (),
) -> Iterator[str]:
    """The lines for one machine: whose it is, then each step in order. Needs no network and no store.

    `provided`: the programs of `firmware.YOURS` that are in `files_dir`. `loaders`: whose scripts are shown
    even where no program tells that the machine loads them.
    """
    asks = _Asks(said.clients(mac), boot_port, provided, loaders, inventory.mirrors)
    node = inventory.by_mac.get(mac)
    if node is not None:
        yield from _machine(inventory.assign(node), catalog, mac, asks)
        return
    caught = [n for n in inventory.networks.values() if isinstance(_in(inventory, mac, n), Assignment)]
    if not caught:
        yield f"{mac} is unknown: declared in no pool, and no network has a catch-all pool"
        yield from _row("dhcp", "no answer; the event log says why")
        yield from _row("remedy", "declare it in a pool, or make one pool of its network the catch-all")
    for network in caught:
        if (assignment := _in(inventory, mac, network)) and isinstance(assignment, Assignment):
            yield from _machine(assignment, catalog, mac, asks)


@dataclass(frozen=True, slots=True)
class _Asks:
    """The clients whose answers are told, and what the daemon would know beside the inventory."""

    clients: Sequence[tuple[str, Client]]
    boot_port: int
    provided: Container[str]
    loaders: Sequence[Loader]
    mirrors: Mapping[str, tuple[str, ...]]

    def first_stage(
        self, client: Client, assignment: Assignment, server: IPv4Address
    ) -> FirstStage | NoProgram:
        """What this client of a machine is told to load first."""
        override = assignment.node.boot if assignment.node else BootOverride()
        return first_stage(
            client, address=server, boot_port=self.boot_port, override=override, provided=self.provided
        )


def _in(inventory: Inventory, mac: Mac, network: Network) -> Assignment | NoMatch:
    return inventory.match(Client(mac), [network])


def _machine(assignment: Assignment, catalog: Images, mac: Mac, asks: _Asks) -> Iterator[str]:
    server = assignment.network.address or _UNKNOWN
    lines = [
        f"{mac} is {assignment.name}: {assignment.reason}",
        *_row("belongs to", _belongs(assignment)),
        *_known(assignment),
        *_door(assignment.network, asks),
        *(_beside_another(assignment) if assignment.network.proxy else _dhcp(assignment)),
        *_programs(assignment, server, asks),
        *_boot(assignment, catalog, mac, server, asks),
    ]
    own = f"ADDRESS-OF-{assignment.network.interface or 'US'}"
    yield from (line.replace(str(_UNKNOWN), own) for line in lines)


def _belongs(assignment: Assignment) -> str:
    node_tags = assignment.node.tags if assignment.node else ()
    tags = dict.fromkeys((*assignment.cluster.tags, *assignment.pool.tags, *node_tags))
    names = f"; tags all, {', '.join(tags)}" if tags else "; tags all"
    return f"cluster {assignment.cluster.name}, network {assignment.network.name}{names}"


def _known(assignment: Assignment) -> Iterator[str]:
    """What else identifies the node, beside this card."""
    node = assignment.node
    if node is None or not (node.known_further or len(node.macs) > 1):
        return
    raw = {"client identifier": node.client_id, "circuit id": node.circuit_id, "remote id": node.remote_id}
    said = {"UUID": node.uuid} | {word: value and f"hex:{value.hex()}" for word, value in raw.items()}
    words = [f"MAC {', '.join(node.macs)}", *(f"{word} {value}" for word, value in said.items() if value)]
    relays = assignment.network.relays
    if node.circuit_id or node.remote_id:
        words.append(f"through {', '.join(map(str, relays)) or 'no relay agent: the network lists none'}")
    yield from _row("known by", "; ".join(words))


def _door(network: Network, asks: _Asks) -> Iterator[str]:
    """Who of it is let in, where the network does not answer everybody."""
    if network.admit is None:
        return
    for name, client in asks.clients:
        why = refusal(network.admit, client)
        yield from _row("admitted", f"{name}: {f'no answer at all, {why}' if why else 'yes'}")


def _beside_another(assignment: Assignment) -> Iterator[str]:
    expected = f"; expected is {assignment.address}" if assignment.address else ""
    yield from _row("address", f"the network's own DHCP server's affair (mode proxy){expected}")
    yield from _row("dhcp", "on ports 67 and 4011, as firmware and boot loader: what to load, nothing else")


def _dhcp(assignment: Assignment) -> Iterator[str]:
    network = assignment.network
    ranges = ", ".join(f"{r.first} to {r.last}" for r in network.ranges) or "nothing: no range, so no offer"
    where = f"{assignment.address}, reserved" if assignment.address else f"a free one of {ranges}"
    booting = _time(min(network.boot_lease, network.lease))
    yield from _row("address", f"{where}; for {booting} while it boots, then for {_time(network.lease)}")
    standing = {1: str(network.subnet.netmask), 3: network.gateway, 6: network.dns, 15: network.domain}
    values = {code: value for code, value in standing.items() if value} | dict(assignment.options)
    for code, value in sorted({**values, 12: assignment.name}.items()):
        name = f" {BY_CODE[code].name}" if code in BY_CODE else ""
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        yield from _row("option", f"{code}{name}: {shown}")


def _time(seconds: float) -> str:
    """A duration as the operator's file has it, like 10h30m."""
    if seconds == INFINITE:
        return "ever"
    whole = round(seconds)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _programs(assignment: Assignment, server: IPv4Address, asks: _Asks) -> Iterator[str]:
    """What each client loads first, and the quirks that its replies follow, each with its reason."""
    override = assignment.node.boot if assignment.node else BootOverride()
    for name, client in asks.clients:
        stage = asks.first_stage(client, assignment, server)
        if isinstance(stage, NoProgram):
            text = stage.reason
        elif "://" in stage.program:
            text = f"{stage.program} over HTTP"
        else:
            text = f"{stage.program} by TFTP from {server}" if stage.program else stage.words
        yield from _row("program", f"{name}: {text}")
        for quirk in resolve(client, override.quirks).applied:
            yield from _row("quirk", f"{name}: {quirk}: {BY_ID[quirk.id].effect}")


def _boot(
    assignment: Assignment, catalog: Images, mac: Mac, server: IPv4Address, asks: _Asks
) -> Iterator[str]:
    plan = decide(assignment, catalog, asks.mirrors)
    base = ipxe.base_url(server, asks.boot_port)
    address = assignment.address or _UNKNOWN
    for loader in _loaders(assignment, server, asks):
        rows = explain_loaders.script(loader, plan, base=base, server=server, mac=mac, address=address)
        for word, text in rows:
            yield from _row(word, _unleased(text))
    if not isinstance(plan, BootPlan):
        then = "asks again by itself" if plan.retry else "goes on to its local boot"
        yield from _row("script", f"boots nothing: {plan.reason}; it {then}")
        yield from _row("remedy", plan.remedy)
        return
    generation = plan.generation
    yield from _row("script", f"{generation.name}, generation {generation.id[:12]}")
    for word in ipxe.kernel_arguments(plan, base=base, mac=mac, address=address):
        yield from _row("kernel", _unleased(word))
    yield from _row("seed", "its boot key, only to the leased address and its MAC's neighbour entry")
    yield from _row("claim", f"once, with that key; the lease then lasts {assignment.network.lease:g} s")
    size = generation.files["root.squashfs"].size / 2**20
    yield from _row("squashfs", f"{size:.1f} MiB into RAM, checked by its SHA-256")
    for line in _settings(assignment.settings):
        yield from _row("config", line)
    yield from _row("join", _join(assignment))


def _loaders(assignment: Assignment, server: IPv4Address, asks: _Asks) -> list[Loader]:
    """The loaders that ask by TFTP: those asked for, and those that the machine is told to load first."""
    stages = [asks.first_stage(client, assignment, server) for _, client in asks.clients]
    named = [explain_loaders.loader_of(s.program) for s in stages if isinstance(s, FirstStage)]
    return list(dict.fromkeys([*asks.loaders, *(loader for loader in named if loader)]))


def _unleased(text: str) -> str:
    """A kernel's word or line: in place of the address that the machine has no reservation for."""
    return text.replace(f"ip={_UNKNOWN}:", "ip=ITS-ADDRESS:")


def _settings(settings: Settings) -> Iterator[str]:
    """The names of what the configuration holds; values of secrets are never shown."""
    if settings.timezone:
        yield f"timezone {settings.timezone}"
    if settings.root_password_hash:
        yield "root password (hidden)"
    lists = {
        "ssh keys": [_comment(key) for key in settings.ssh_authorized_keys],
        "sysctls": [f"{key}={value}" for key, value in settings.sysctls.items()],
        "modules": settings.modules,
        "mounts": [f"{mount.where} ({mount.type})" for mount in settings.mounts],
        "hosts": list(settings.hosts),
        "units": [f"{name}{' (enabled)' if unit.enable else ''}" for name, unit in settings.units.items()],
        "labels": [f"{key}={value}" for key, value in settings.labels.items()],
        "taints": [str(taint) for taint in settings.taints],
        "kubelet": [f"--{name}={value}" for name, value in settings.kubelet_args.items()],
    }
    yield from (f"{name}: {', '.join(items)}" for name, items in lists.items() if items)
    for path, file in settings.files.items():
        hidden = ", secret" if file.secret else ""
        yield f"file {path}, mode {file.mode:04o}, {len(file.content)} characters{hidden}"
    if settings.network_script is not None:
        yield f"network.sh, {len(settings.network_script.splitlines())} lines, run before units and join"


def _comment(key: str) -> str:
    words = key.split()
    return words[-1] if len(words) > 2 else words[0]


def _join(assignment: Assignment) -> str:
    cluster, join = assignment.cluster, assignment.cluster.join
    if join.method == "none":
        return "none: it boots and joins nothing"
    where = f"{join.method} to {cluster.name} at {cluster.endpoint}"
    if join.method == "certificate":
        return f"{where}, a certificate for the key that it makes itself"
    if join.method == "static":
        return f"{where}, certificates {'of the folder' if join.directory else 'signed for this boot'}"
    return f"{where}, bind {join.bind}, a credential of its own for {join.token_ttl:g} s"


def _row(name: str, text: str) -> Iterator[str]:
    yield f"  {name:<{_WIDTH}}{text}"
