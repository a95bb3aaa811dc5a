"""The keys of the operator's file: types, defaults, and (by the markers of `keys`) what has no effect yet.

One frozen pydantic model per mapping of the file; single values are read by `values` and `node_values`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator, model_validator

from netboot.config import node_values, values
from netboot.config.keys import Later, NotYet, tree
from netboot.config.model import Limit
from netboot.model.inventory import INFINITE, AddressRange, Options
from netboot.model.machine import Mac
from netboot.model.manners import UNLIMITED, Rate
from netboot.model.settings import Taint

_P = PlainValidator


class Entry(BaseModel):
    """A mapping of the file. Unknown keys are refused; a key without a value takes its default back."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data


Text = Annotated[str, _P(values.line)]
Name = Annotated[str, _P(values.name)]
HostName = Annotated[str, _P(values.hostname)]
Domain = Annotated[str, _P(values.domain)]
Address = Annotated[IPv4Address, _P(values.ipv4)]
File = Annotated[Path, _P(values.path)]
Flag = Annotated[bool, _P(values.boolean)]
Port = Annotated[int, _P(values.integer(1, 65535))]
Count = Annotated[Limit, _P(values.limit)]
PerTime = Annotated[Rate, _P(values.rate)]
Octets = Annotated[bytes, _P(values.octets)]
ImageName = Annotated[str, _P(values.image)]


def _time(low: float, high: float = values.MAX_SECONDS, *, infinite: bool = False) -> Any:
    return _P(values.duration(low, high, infinite=infinite))


class Tls(Entry):
    """A certificate and its key."""

    certificate: File
    key: File


class BootHttps(Tls):
    """HTTPS on the boot port's side."""

    port: Port = 443
    ca: File | None = None


class Tftp(Entry):
    """server.tftp"""

    single_port: Flag = False
    max_transfers: Count = 500
    per_client: Count = 64


class Storm(Entry):
    """server.storm"""

    max_downloads: Count = INFINITE
    max_rate: Annotated[float, _P(values.bandwidth)] = INFINITE


class BootLimits(Entry):
    """server.boot_limits"""

    connections: Count = 256
    requests: PerTime = Rate(200, 1.0)


class Api(Entry):
    """server.api"""

    listen: Annotated[tuple[str, int], _P(values.listen)] = ("127.0.0.1", 8443)
    names: tuple[Domain, ...] = ()
    tls: Tls | None = None
    tokens_file: File | None = None


class Server(Entry):
    """server"""

    interfaces: tuple[Annotated[str, _P(values.interface)], ...] = ()
    address: Address | None = None
    boot_port: Port = 80
    boot_https: BootHttps | None = None
    user: Annotated[str | None, _P(values.account)] = None
    helper_user: Annotated[str | None, _P(values.account)] = None
    workers: Annotated[int | None, _P(values.workers)] = None
    data_dir: File = Path("/var/lib/netboot")
    database: Annotated[
        Text,
        NotYet(
            harmless=("sqlite",),
            what="a database other than sqlite is not there yet",
            remedy="write database: sqlite, and run one appliance",
        ),
    ] = "sqlite"
    hosts_file: File | None = None
    images_dir: File = Path("/srv/netboot/images")
    files_dir: File = Path("/srv/netboot/files")
    tftp: Tftp = Tftp()
    storm: Storm = Storm()
    boot_limits: BootLimits = BootLimits()
    api: Api = Api()


class Admit(Entry):
    """networks.admit"""

    macs: tuple[Annotated[str, _P(values.mac_or_maker)], ...] = ()
    vendors: tuple[Text, ...] = ()


class Limits(Entry):
    """networks.limits"""

    per_client: PerTime = UNLIMITED
    new_macs: PerTime = UNLIMITED


_OPTIONS = _P(node_values.dhcp_options)
_NONE: Options = {}


class Network(Entry):
    """networks"""

    name: Name
    subnet: Annotated[IPv4Network, _P(values.subnet)]
    interface: Annotated[str | None, _P(values.interface)] = None
    relayed: Flag = False
    mode: Annotated[str, _P(values.choice("server", "proxy"))] = "server"
    address: Address | None = None
    range: Annotated[tuple[AddressRange, ...], _P(values.ranges)] = ()
    lease: Annotated[float, _time(60, infinite=True)] = 12 * 3600.0
    renew: Annotated[float | None, _time(1)] = None
    rebind: Annotated[float | None, _time(1)] = None
    boot_lease: Annotated[float, _time(60, 86400)] = 300.0
    gateway: Address | None = None
    dns: tuple[Address, ...] = ()
    domain: Domain | None = None
    relays: tuple[Address, ...] = ()
    admit: Admit = Admit()
    limits: Limits = Limits()
    options: Annotated[Options, _OPTIONS] = _NONE


class Image(Entry):
    """images"""

    mirrors: Annotated[tuple[str, ...], _P(values.mirrors)] = ()
    public_key: Annotated[
        File | None,
        NotYet(
            what="signatures of images are not checked yet",
            remedy="leave it out; the SHA-256 is always checked",
        ),
    ] = None


_METHODS = ("kubeadm", "certificate", "tls-bootstrap", "static", "none")


class Join(Entry):
    """clusters.join"""

    method: Annotated[str, _P(values.choice(*_METHODS))] = "none"
    kubeconfig: File | None = None
    bind: Annotated[str, _P(values.choice("node", "cluster"))] = "node"
    token_ttl: Annotated[float, _time(60, 3600)] = 900.0
    discovery: Annotated[str, _P(values.choice("token", "file"))] = "token"
    role: Annotated[str, _P(values.choice("worker", "control-plane"))] = "worker"
    certificate_key_file: File | None = None
    cri_socket: Annotated[str, _P(node_values.cri_socket)] = "unix:///run/containerd/containerd.sock"
    ignore_preflight: tuple[Annotated[str, _P(node_values.preflight)], ...] = ()
    max_nodes: Count = INFINITE
    ca_certificate: File | None = None
    ca_key_file: File | None = None
    directory: File | None = None


class NodeActions(Entry):
    """clusters.node_actions"""

    labels: Flag = False
    taints: Flag = False
    cordon: Flag = False
    drain: Flag = False
    mark_unknown: Flag = True
    delete: Flag = False


class Cluster(Entry):
    """clusters"""

    name: Name
    endpoint: Annotated[str, _P(values.endpoint)]
    image: ImageName | None = None
    tags: tuple[Name, ...] = ()
    join: Join = Join()
    serving_certificates: Annotated[str, _P(values.choice("approve", "ignore"))] = "ignore"
    node_actions: NodeActions = NodeActions()


class Mount(Entry):
    """tags.*.mounts"""

    what: Annotated[str, _P(node_values.mount_word)]
    where: Annotated[str, _P(node_values.mount_point)]
    type: Annotated[str, _P(node_values.mount_word)] = "auto"
    options: Annotated[str, _P(node_values.mount_word)] = "defaults"


class NodeFile(Entry):
    """tags.*.files"""

    content: Annotated[str, _P(node_values.content)]
    mode: Annotated[int | None, _P(node_values.mode)] = None
    secret: Flag = False


class Unit(Entry):
    """tags.*.units"""

    content: Annotated[str, _P(node_values.content)]
    enable: Flag = False


_SysctlKey = Annotated[str, _P(node_values.sysctl)]
_KubeletKey = Annotated[str, _P(node_values.kubelet_argument)]


class Settings(Entry):
    """What a node is configured with: tags, and a node's own settings."""

    timezone: Annotated[str | None, _P(node_values.timezone)] = None
    ssh_authorized_keys: tuple[Annotated[str, _P(node_values.ssh_key)], ...] = ()
    root_password_hash: Annotated[str | None, _P(node_values.password_hash)] = None
    sysctls: dict[_SysctlKey, Annotated[str, _P(node_values.sysctl_value)]] = {}
    modules: tuple[Annotated[str, _P(node_values.module)], ...] = ()
    kernel_parameters: tuple[Annotated[str, _P(node_values.kernel_parameter)], ...] = ()
    kubelet_args: dict[_KubeletKey, Annotated[str, _P(node_values.kubelet_value)]] = {}
    mounts: tuple[Mount, ...] = ()
    labels: dict[Annotated[str, _P(node_values.label_key)], Annotated[str, _P(node_values.label_value)]] = {}
    taints: tuple[Annotated[Taint, _P(node_values.taint)], ...] = ()
    debug_shell: Annotated[bool | None, _P(values.boolean)] = None
    network_script: Annotated[str | None, _P(node_values.script)] = None
    files: dict[Annotated[str, _P(node_values.file_path)], NodeFile] = {}
    units: dict[Annotated[str, _P(node_values.unit)], Unit] = {}
    hosts: dict[
        Annotated[str, _P(values.any_ip)], Annotated[tuple[str, ...], _P(node_values.host_names)]
    ] = {}


class Tag(Settings):
    """tags"""

    dhcp_options: Annotated[Options, _OPTIONS] = _NONE


class Boot(Entry):
    """pools.nodes.boot"""

    program: Annotated[str | None, _P(node_values.program)] = None
    quirks: tuple[Annotated[str, _P(node_values.quirk)], ...] = ()


class Bmc(Entry):
    """pools.nodes.bmc"""

    driver: Annotated[str, _P(values.choice("redfish", "ipmi"))]
    url: Text
    username: Text | None = None
    password_file: File | None = None


class Node(Entry):
    """pools.nodes, and a line of a nodes file."""

    name: HostName | None = None
    macs: Annotated[tuple[Mac, ...], _P(values.macs)]
    address: Address | None = None
    tags: tuple[Name, ...] = ()
    image: ImageName | None = None
    uuid: Annotated[str | None, _P(values.uuid)] = None
    client_id: Octets | None = None
    circuit_id: Octets | None = None
    remote_id: Octets | None = None
    options: Annotated[Options, _P(lambda value: node_values.dhcp_options(value, boot=True))] = _NONE
    boot: Boot = Boot()
    settings: Settings = Settings()
    bmc: Annotated[Bmc | None, Later()] = None


class Pool(Entry):
    """pools"""

    name: Name = "default"
    cluster: Name | None = None
    network: Name | None = None
    tags: tuple[Name, ...] = ()
    image: ImageName | None = None
    priority: Annotated[int, _P(values.integer(-1000, 1000))] = 0
    claims: PerTime = UNLIMITED
    nodes_file: File | None = None
    nodes: tuple[Node, ...] = ()
    catch_all: Flag = False
    admission: Annotated[str, _P(values.choice("automatic", "approval"))] = "automatic"
    node_name: Annotated[str, _P(values.node_name)] = "node-{mac}"


class Root(Entry):
    """The whole file."""

    server: Server = Server()
    networks: tuple[Network, ...] = ()
    images: dict[Name, Image] = {}
    clusters: tuple[Cluster, ...] = ()
    pools: tuple[Pool, ...] = ()
    tags: dict[Name, Tag] = {}


KEYS = tree(Root)
"""Every key of the file, as a tree."""
