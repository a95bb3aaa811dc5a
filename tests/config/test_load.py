from __future__ import annotations

import json
import pickle
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netboot.config import Config, Rate, examine, load
from netboot.errors import ConfigError
from netboot.model.inventory import AddressRange, Assignment
from netboot.model.machine import Client, Mac
from netboot.model.settings import File, Taint

DATA = Path(__file__).parent.parent / "data" / "config"
ROOT = DATA.parent.parent.parent

NETWORK = "networks:\n- {name: lab, subnet: 10.77.0.0/24, interface: br0}\n"


def said(tmp_path: Path, text: str, name: str = "f.yaml") -> Config:
    file = tmp_path / name
    file.write_text(text)
    return load([file])


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """Every default is the one that the contract's comments name."""
    config = said(tmp_path, "")
    server = config.server
    assert (server.boot_port, server.workers, server.database) == (80, None, "sqlite")
    assert (server.user, server.helper_user, server.address, server.interfaces) == (None, None, None, ())
    assert server.data_dir == Path("/var/lib/netboot")
    assert server.images_dir == Path("/srv/netboot/images")
    assert server.files_dir == Path("/srv/netboot/files")
    assert (server.tftp.max_transfers, server.tftp.per_client, server.tftp.single_port) == (500, 64, False)
    assert (server.boot_limits.connections, server.boot_limits.requests) == (256, Rate(200, 1.0))
    assert (config.api.host, config.api.port, config.api.names) == ("127.0.0.1", 8443, ())
    assert config.warnings == ("no network is declared: nothing will be served; write one under networks",)


def test_a_network_has_the_contracts_defaults(tmp_path: Path) -> None:
    """Twelve hours of lease, five minutes for firmware, and no dynamic address."""
    network = said(tmp_path, NETWORK).inventory.networks["lab"]
    assert (network.lease, network.boot_lease) == (43200.0, 300.0)
    assert (network.renew, network.rebind, network.ranges, network.address) == (None, None, (), None)


def test_we_listen_on_each_networks_interface_once(tmp_path: Path) -> None:
    """server.interfaces defaults to what the networks name."""
    text = (
        NETWORK + "- {name: b, subnet: 10.78.0.0/24, interface: br1}\n"
        "- {name: c, subnet: 10.79.0.0/24, interface: br0}\n"
    )
    assert said(tmp_path, text).server.interfaces == ("br0", "br1")


def test_a_network_is_reached_at_its_own_address_else_at_the_servers(tmp_path: Path) -> None:
    """networks.address, else server.address."""
    text = (
        "server: {address: 10.77.0.2}\n"
        + NETWORK
        + "- {name: b, subnet: 10.78.0.0/24, interface: br1, address: 10.78.0.9}\n"
    )
    networks = said(tmp_path, text).inventory.networks
    assert networks["lab"].address == IPv4Address("10.77.0.2")
    assert networks["b"].address == IPv4Address("10.78.0.9")


def test_the_example_of_the_repository_is_accepted_whole() -> None:
    """config/netboot.yaml is what a newcomer edits: no problem, no key without effect."""
    config = load([ROOT / "config" / "netboot.yaml"])
    assert config.warnings == ()
    assert set(config.inventory.pools) == {"compute", "unknown"}


def test_the_example_gives_a_declared_node_everything() -> None:
    """Name, address, merged settings and options of a declared machine, whichever of its cards asks."""
    inventory = load([ROOT / "config" / "netboot.yaml"]).inventory
    network = inventory.networks["compute"]
    for card in ("94:57:a5:d3:ec:f2", "94:57:a5:d3:ec:f3"):
        found = inventory.match(Client(Mac(card)), [network])
        assert isinstance(found, Assignment)
        assert (found.name, found.cluster.name, found.image) == ("m1c29", "blue", "debian-12")
        assert found.address == IPv4Address("10.28.36.173")
        assert found.options == {26: 1500}
        assert found.settings.debug_shell is True
        assert found.settings.taints == (Taint("example.org/debug", "true", "NoSchedule"),)
        assert found.settings.modules == ("br_netfilter", "overlay")
        assert found.settings.kernel_parameters[-1] == "mitigations=auto"
        assert found.settings.files["/root/.docker/config.json"] == File('{"auths": {}}', 0o600, True)
    unknown = inventory.match(Client(Mac("52:54:00:aa:bb:cc")), [network])
    assert isinstance(unknown, Assignment)
    assert (unknown.name, unknown.cluster.name, unknown.address) == ("node-525400aabbcc", "catchall", None)


def test_a_second_file_moves_the_example_to_another_network(tmp_path: Path) -> None:
    """Interface, addresses, MACs and paths of a lab, and nothing else, make the example its own."""
    lab = tmp_path / "lab.yaml"
    lab.write_text(
        "server: {address: 10.77.0.1, data_dir: /tmp/d, images_dir: /tmp/i, files_dir: /tmp/f}\n"
        "networks:\n- {name: compute, subnet: 10.77.0.0/24, interface: br0, gateway: ,"
        " range: 10.77.0.100-10.77.0.200}\n"
        "clusters:\n- {name: blue, endpoint: '10.77.0.1:6443', join: {kubeconfig: /tmp/k}}\n"
        "pools:\n- {name: compute, nodes: [{name: m1c29, macs: [52:54:00:77:00:01], address: 10.77.0.10}]}\n"
    )
    config = load([ROOT / "config" / "netboot.yaml", lab])
    network = config.inventory.networks["compute"]
    assert (network.interface, network.subnet, network.gateway) == ("br0", IPv4Network("10.77.0.0/24"), None)
    assert network.ranges == (AddressRange(IPv4Address("10.77.0.100"), IPv4Address("10.77.0.200")),)
    node = config.inventory.by_mac[Mac("52:54:00:77:00:01")]
    assert (node.name, node.address, len(node.macs)) == ("m1c29", IPv4Address("10.77.0.10"), 3)
    assert config.inventory.clusters["blue"].join.bind == "node"
    assert config.files == (ROOT / "config" / "netboot.yaml", lab)


def test_yaml_has_no_traps() -> None:
    """An unquoted MAC, modes with a leading zero, texts that YAML 1.1 would take for something else."""
    config = load([DATA / "no-traps.yaml"])
    inventory = config.inventory
    assert config.server.interfaces == ("no", "1e3")
    assert inventory.by_mac[Mac("52:54:00:12:34:56")].name == "n1"
    assert inventory.by_mac[Mac("12:34:56:12:34:57")].client_id == b"\x0a\x0b"
    assert set(inventory.pools) == {"yes"}
    assert set(inventory.clusters) == {"2024-01-01"}
    found = inventory.tags["all"].settings
    modes = {path: file.mode for path, file in found.files.items()}
    assert modes == {"/etc/a": 0o644, "/etc/b": 0o600, "/etc/c": 0o755, "/etc/d": 0o4755, "/etc/e": 0o600}
    assert found.labels == {
        "version": "1.10",
        "number": "0123",
        "flag": "true",
        "big": "1_000",
        "norway": "no",
        "date": "2024-01-01",
    }
    assert found.sysctls == {"kernel.panic": "010"}
    assert found.kernel_parameters == ("12:30", "0x10")


def test_the_warning_names_each_key_without_effect_once(tmp_path: Path) -> None:
    """A value that says what happens anyway is not worth a warning."""
    bmc = "bmc: {driver: redfish, url: https://10.0.0.1, username: a, password_file: /dev/null}"
    text = (
        "server: {tftp: {single_port: false}}\n"
        "networks:\n"
        "- {name: a, subnet: 10.1.0.0/24, interface: br0, mode: server,"
        " range: 10.1.0.10-10.1.0.99, admit: {macs: [], vendors: []}, relays: []}\n"
        "clusters: [{name: b, endpoint: 'b:1'}]\n"
        "pools:\n"
        "- {name: p, cluster: b, network: a, nodes: [\n"
        f"  {{name: n1, macs: ['52:54:00:00:00:01'], {bmc}}},\n"
        f"  {{name: n2, macs: ['52:54:00:00:00:02'], {bmc}}}]}}\n"
    )
    warning = said(tmp_path, text).warnings[0]
    file = tmp_path / "f.yaml"
    assert warning == f"accepted, but without effect yet: pools.nodes.bmc ({file}:7, {file}:8)"


def test_a_configuration_survives_pickle() -> None:
    """A reload reads it in another process."""
    config = load([ROOT / "config" / "netboot.yaml"])
    assert pickle.loads(pickle.dumps(config)) == config


def test_no_repr_of_a_configuration_shows_a_secret() -> None:
    """A configuration in a traceback or a log gives neither password hash nor file content away."""
    config = load([ROOT / "config" / "netboot.yaml"])
    assert "auths" not in repr(config)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_configuration_or_a_report(tmp_path: Path, raw: bytes) -> None:
    """A file of noise ends in a value or in ConfigError."""
    file = tmp_path / "noise.yaml"
    file.write_bytes(raw)
    try:
        assert isinstance(load([file]), Config)
    except ConfigError as error:
        assert error.problems


_EXAMPLE = (DATA / "example.yaml").read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.integers(0, len(_EXAMPLE)), st.integers(0, 40), st.binary(max_size=20))
def test_a_damaged_example_gives_a_report(tmp_path: Path, at: int, length: int, noise: bytes) -> None:
    """The whole contract with a hole or a patch of noise anywhere is still only values and problems."""
    file = tmp_path / "damaged.yaml"
    file.write_bytes(_EXAMPLE[:at] + noise + _EXAMPLE[at + length :])
    found = examine([file])
    assert isinstance(found.seen, Config)


_WORDS = st.sampled_from(
    ["name", "lab", "10.77.0.0/24", "macs", "server", "all", "-1", "true", "", "90s", "unlimited"]
)
_KEYS = st.sampled_from(
    [
        "server",
        "networks",
        "images",
        "clusters",
        "pools",
        "tags",
        "name",
        "subnet",
        "interface",
        "range",
        "macs",
        "nodes",
        "join",
        "method",
        "kubeconfig",
        "files",
        "hosts",
        "labels",
        "taints",
        "options",
        "dhcp_options",
        "admit",
        "limits",
        "api",
        "listen",
        "boot_limits",
        "lease",
        "renew",
        "tls",
        "26",
        "all",
    ]
)
_VALUES = st.recursive(
    st.one_of(_WORDS, st.integers(-5, 10**6), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_right_keys_with_wrong_values_give_a_report(tmp_path: Path, tree: dict[str, object]) -> None:
    """No form of value below any key breaks a check."""
    file = tmp_path / "tree.yaml"
    file.write_text(json.dumps(tree))
    found = examine([file])
    assert isinstance(found.seen, Config)
