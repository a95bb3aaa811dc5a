"""From the schema's values to the nouns of the model, which know nothing of files."""

from __future__ import annotations

from collections.abc import Iterable

from netboot.config import schema
from netboot.config.model import Api, BootLimits, Server, StormLimits, TftpLimits
from netboot.config.tls import BootHttps, Certificate
from netboot.model.inventory import (
    BootOverride,
    Cluster,
    Inventory,
    JoinSettings,
    Network,
    Node,
    NodeActions,
    Pool,
    Tag,
)
from netboot.model.manners import Admit, Limits
from netboot.model.settings import File, Mount, Settings, Unit

_NO_BOOT = BootOverride()
_NO_SETTINGS = Settings()


def server(root: schema.Root) -> Server:
    """The appliance itself; it listens on each network's interface where nothing else is said."""
    said = root.server
    named = dict.fromkeys(n.interface for n in root.networks if n.interface)
    return Server(
        interfaces=tuple(dict.fromkeys(said.interfaces)) or tuple(named),
        address=said.address,
        boot_port=said.boot_port,
        user=said.user,
        helper_user=said.helper_user,
        workers=said.workers,
        data_dir=said.data_dir,
        database=said.database,
        hosts_file=said.hosts_file,
        images_dir=said.images_dir,
        files_dir=said.files_dir,
        tftp=TftpLimits(said.tftp.max_transfers, said.tftp.per_client, said.tftp.single_port),
        boot_https=_boot_https(said.boot_https),
        storm=StormLimits(said.storm.max_downloads, said.storm.max_rate),
        boot_limits=BootLimits(said.boot_limits.connections, said.boot_limits.requests),
    )


def _boot_https(said: schema.BootHttps | None) -> BootHttps | None:
    return BootHttps(said.certificate, said.key, said.port, said.ca) if said else None


def api(root: schema.Root) -> Api:
    """The operators' listener."""
    said = root.server.api
    host, port = said.listen
    tls = Certificate(said.tls.certificate, said.tls.key) if said.tls else None
    return Api(host, port, tuple(name.lower() for name in said.names), tls, said.tokens_file)


def inventory(root: schema.Root, nodes: Iterable[Node]) -> Inventory:
    """Everything that was declared; `nodes` are those of the file and of all nodes files."""
    return Inventory(
        networks={n.name: _network(n, root.server) for n in root.networks},
        clusters={c.name: _cluster(c) for c in root.clusters},
        pools={p.name: _pool(p) for p in root.pools},
        nodes=tuple(nodes),
        tags={name: Tag(name, settings(tag), tag.dhcp_options) for name, tag in root.tags.items()},
        mirrors={name: image.mirrors for name, image in root.images.items() if image.mirrors},
    )


def _network(said: schema.Network, of_server: schema.Server) -> Network:
    return Network(
        name=said.name,
        subnet=said.subnet,
        interface=said.interface,
        address=said.address or of_server.address,
        mode=said.mode,
        ranges=said.range,
        lease=said.lease,
        renew=said.renew,
        rebind=said.rebind,
        boot_lease=said.boot_lease,
        gateway=said.gateway,
        dns=said.dns,
        domain=said.domain,
        relays=said.relays,
        admit=_admit(said.admit),
        limits=_limits(said.limits),
        options=said.options,
    )


def _admit(said: schema.Admit) -> Admit | None:
    return Admit(frozenset(said.macs), said.vendors) if said.macs or said.vendors else None


def _limits(said: schema.Limits) -> Limits | None:
    limits = Limits(said.per_client, said.new_macs)
    return None if limits == Limits() else limits


def _cluster(said: schema.Cluster) -> Cluster:
    join = JoinSettings(
        method=said.join.method,
        kubeconfig=said.join.kubeconfig,
        bind=said.join.bind,
        token_ttl=said.join.token_ttl,
        discovery=said.join.discovery,
        role=said.join.role,
        cri_socket=said.join.cri_socket,
        ignore_preflight=said.join.ignore_preflight,
        certificate_key_file=said.join.certificate_key_file,
        max_nodes=said.join.max_nodes,
        ca_certificate=said.join.ca_certificate,
        ca_key_file=said.join.ca_key_file,
        directory=said.join.directory,
    )
    actions = NodeActions(
        labels=said.node_actions.labels,
        taints=said.node_actions.taints,
        cordon=said.node_actions.cordon,
        drain=said.node_actions.drain,
        mark_unknown=said.node_actions.mark_unknown,
        delete=said.node_actions.delete,
    )
    approves = said.serving_certificates == "approve"
    return Cluster(said.name, said.endpoint, said.image, said.tags, join, actions, approves)


def _pool(said: schema.Pool) -> Pool:
    return Pool(
        name=said.name,
        cluster=said.cluster or "",
        network=said.network or "",
        tags=said.tags,
        image=said.image,
        priority=said.priority,
        catch_all=said.catch_all,
        node_name=said.node_name,
        claims=said.claims,
        admission=said.admission,
    )


def settled(root: schema.Root) -> schema.Root:
    """Pools that name no cluster or network belong to the only one, where there is only one."""
    only_cluster = root.clusters[0].name if len(root.clusters) == 1 else None
    only_network = root.networks[0].name if len(root.networks) == 1 else None
    pools = tuple(
        pool.model_copy(
            update={"cluster": pool.cluster or only_cluster, "network": pool.network or only_network}
        )
        for pool in root.pools
    )
    return root.model_copy(update={"pools": pools})


def node(said: schema.Node, pool: str) -> Node:
    """A declared machine; without a name it is called by its first MAC."""
    fields = said.model_fields_set
    return Node(
        name=said.name or f"node-{said.macs[0].digits if said.macs else ''}",
        pool=pool,
        macs=said.macs,
        address=said.address,
        tags=said.tags,
        image=said.image,
        uuid=said.uuid,
        client_id=said.client_id,
        circuit_id=said.circuit_id,
        remote_id=said.remote_id,
        options=said.options,
        boot=BootOverride(said.boot.program, said.boot.quirks) if "boot" in fields else _NO_BOOT,
        settings=settings(said.settings) if "settings" in fields else _NO_SETTINGS,
    )


def settings(said: schema.Settings) -> Settings:
    """The settings of a tag, or of a node for itself. Equal elements of a list stand once."""
    return Settings(
        timezone=said.timezone,
        root_password_hash=said.root_password_hash,
        debug_shell=said.debug_shell,
        network_script=said.network_script,
        ssh_authorized_keys=_once(said.ssh_authorized_keys),
        modules=_once(said.modules),
        kernel_parameters=_once(said.kernel_parameters),
        mounts=tuple({m.where: Mount(m.what, m.where, m.type, m.options) for m in said.mounts}.values()),
        taints=tuple({(t.key, t.effect): t for t in said.taints}.values()),
        sysctls=said.sysctls,
        labels=said.labels,
        kubelet_args=said.kubelet_args,
        files={path: _file(file) for path, file in said.files.items()},
        units={name: Unit(unit.content, unit.enable) for name, unit in said.units.items()},
        hosts=said.hosts,
    )


def _file(said: schema.NodeFile) -> File:
    default = 0o600 if said.secret else 0o644
    return File(said.content, default if said.mode is None else said.mode, said.secret)


def _once(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
