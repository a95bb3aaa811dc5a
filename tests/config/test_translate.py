from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from netboot.config import Config, load
from netboot.model.inventory import BootOverride
from netboot.model.machine import Mac
from netboot.model.settings import File, Mount, Taint, Unit

NETWORK = "networks:\n- {name: lab, subnet: 10.77.0.0/24, interface: br0}\n"


def said(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    return load([file])


def test_every_setting_of_a_tag_arrives(tmp_path: Path) -> None:
    """Each key of a tag has its place in the model."""
    text = (
        "tags:\n  t:\n"
        "    timezone: UTC\n"
        "    ssh_authorized_keys: ["
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHuBcUkWlAlJ/IAY4S98bNQKjoC40C6T/StQuLbsglqR a@b]\n"
        "    root_password_hash: $6$exampleexample$I0tbDFnPmwOiz5XK\n"
        "    sysctls: {net.ipv4.ip_forward: 1}\n"
        "    modules: [overlay, overlay]\n"
        "    kernel_parameters: [quiet]\n"
        "    kubelet_args: {fail-swap-on: false, v: 2}\n"
        "    mounts:\n    - {what: tmpfs, where: /a, type: tmpfs}\n"
        "    - {what: tmpfs, where: /a, type: tmpfs, options: ro}\n"
        "    labels: {a: b, c/d: ''}\n"
        "    taints: ['a=b:NoSchedule', 'a:NoExecute', 'a=c:NoSchedule']\n"
        "    debug_shell: false\n"
        "    network_script: 'exit 0'\n"
        "    files: {/etc/motd: {content: hi}}\n"
        "    units: {a.service: {content: '[Unit]', enable: true}}\n"
        "    hosts: {10.0.0.1: [a, b], 'fd00::1': c}\n"
        "    dhcp_options: {ntp-servers: [10.0.0.1], 26: 9000, forward-on-off: true, 224: 'hex:0a0b'}\n"
    )
    tag = said(tmp_path, text).inventory.tags["t"]
    found = tag.settings
    assert (found.timezone, found.debug_shell, found.network_script) == ("UTC", False, "exit 0")
    assert found.root_password_hash == "$6$exampleexample$I0tbDFnPmwOiz5XK"
    assert found.ssh_authorized_keys[0].endswith(" a@b")
    assert (found.sysctls, found.modules, found.kernel_parameters) == (
        {"net.ipv4.ip_forward": "1"},
        ("overlay",),
        ("quiet",),
    )
    assert found.kubelet_args == {"fail-swap-on": "false", "v": "2"}
    assert found.mounts == (Mount("tmpfs", "/a", "tmpfs", "ro"),)
    assert found.labels == {"a": "b", "c/d": ""}
    assert found.taints == (Taint("a", "c", "NoSchedule"), Taint("a", "", "NoExecute"))
    assert found.files == {"/etc/motd": File("hi", 0o644, False)}
    assert found.units == {"a.service": Unit("[Unit]", True)}
    assert found.hosts == {"10.0.0.1": ("a", "b"), "fd00::1": ("c",)}
    assert tag.dhcp_options == {42: ("10.0.0.1",), 26: 9000, 19: "true", 224: "hex:0a0b"}


def test_a_node_may_override_the_boot_plan_with_its_own_options(tmp_path: Path) -> None:
    """Boot options are refused everywhere else."""
    text = (
        NETWORK + "clusters: [{name: c, endpoint: '10.77.0.1:6443'}]\n"
        "pools: [{nodes: [{macs: [52-54-00-00-00-01], address: 10.77.0.5, boot: {program: ipxe.efi},"
        " options: {bootfile-name: x.efi, 66: a}}]}]\n"
    )
    (node,) = said(tmp_path, text).inventory.nodes
    assert node.options == {67: "x.efi", 66: "a"}
    assert node.boot == BootOverride("ipxe.efi", ())


def test_pools_and_nodes_have_defaults_where_there_is_one_choice(tmp_path: Path) -> None:
    """The only cluster, the only network, a name made of the first MAC."""
    text = (
        NETWORK + "clusters: [{name: c, endpoint: '10.77.0.1:6443'}]\n"
        "pools: [{nodes: [{macs: [52-54-00-00-00-01], address: 10.77.0.5}]}]\n"
    )
    inventory = said(tmp_path, text).inventory
    (pool,) = inventory.pools.values()
    assert (pool.name, pool.cluster, pool.network) == ("default", "c", "lab")
    assert inventory.nodes[0].name == "node-525400000001"


def test_every_key_of_a_cluster_arrives(tmp_path: Path) -> None:
    """Endpoint, image, tags and how its nodes join."""
    text = (
        "clusters:\n- name: blue\n  endpoint: '[fd00::1]:6443'\n"
        f"  image: debian@sha256:{'a' * 64}\n  tags: [t]\n"
        "  join: {method: kubeadm, kubeconfig: /k, bind: cluster, token_ttl: 10m, discovery: token,"
        " role: worker,"
        " cri_socket: unix:///run/crio/crio.sock, ignore_preflight: [Swap, NumCPU]}\n"
        "tags: {t: {}}\n"
    )
    cluster = said(tmp_path, text).inventory.clusters["blue"]
    assert (cluster.endpoint, cluster.image, cluster.tags) == (
        "[fd00::1]:6443",
        f"debian@sha256:{'a' * 64}",
        ("t",),
    )
    join = cluster.join
    assert (join.method, join.kubeconfig, join.bind, join.token_ttl) == (
        "kubeadm",
        Path("/k"),
        "cluster",
        600.0,
    )
    assert (join.cri_socket, join.ignore_preflight) == ("unix:///run/crio/crio.sock", ("Swap", "NumCPU"))


def test_a_cluster_without_join_boots_without_joining(tmp_path: Path) -> None:
    """Nothing is guessed about credentials."""
    text = "clusters: [{name: c, endpoint: '10.0.0.1:6443'}]\n"
    assert said(tmp_path, text).inventory.clusters["c"].join.method == "none"


def test_every_key_of_a_network_arrives(tmp_path: Path) -> None:
    """Times in seconds, addresses as addresses."""
    text = (
        "networks:\n- name: n\n  subnet: 10.28.0.0/16\n  interface: eno1\n  address: 10.28.0.2\n"
        "  range: [10.28.72.10-10.28.72.250, 10.28.73.1-10.28.73.9]\n"
        "  lease: 12h\n  renew: 6h\n  rebind: 10h30m\n"
        "  boot_lease: 5m\n  gateway: 10.28.0.1\n  dns: [10.28.0.1]\n  domain: infra.example.org\n"
        "  options: {ntp-servers: [10.28.0.1]}\n"
    )
    network = said(tmp_path, text).inventory.networks["n"]
    assert (network.lease, network.renew, network.rebind, network.boot_lease) == (43200, 21600, 37800, 300)
    assert (network.gateway, network.dns) == (IPv4Address("10.28.0.1"), (IPv4Address("10.28.0.1"),))
    assert (network.domain, network.options) == ("infra.example.org", {42: ("10.28.0.1",)})
    assert len(network.ranges) == 2


def test_a_nodes_identity_and_pool_arrive(tmp_path: Path) -> None:
    """Further identities are bytes; MACs are canonical."""
    text = (
        NETWORK + "clusters: [{name: c, endpoint: '10.77.0.1:6443'}]\n"
        "pools: [{name: p, image: other, priority: 3, nodes: [{name: m1, macs: [5254.0000.0001],"
        " address: 10.77.0.5,"
        " uuid: 4C4C4544-0042-3510-8054-B4C04F564232, circuit_id: port 7,"
        " remote_id: 'hex:0102', image: mine}]}]\n"
    )
    inventory = said(tmp_path, text).inventory
    (node,) = inventory.nodes
    assert (node.pool, node.macs, node.image) == ("p", (Mac("52:54:00:00:00:01"),), "mine")
    assert node.uuid == "4c4c4544-0042-3510-8054-b4c04f564232"
    assert (node.circuit_id, node.remote_id, node.client_id) == (b"port 7", b"\x01\x02", None)
    assert (inventory.pools["p"].image, inventory.pools["p"].priority) == ("other", 3)
