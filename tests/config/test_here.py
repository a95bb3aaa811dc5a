from __future__ import annotations

import os
import pwd
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from netboot import net
from netboot.config import Config, Server, here, load
from netboot.config.holder import Daemon
from netboot.errors import StartError
from tests.support.certificates import authority


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """One network on lo; data, images and files in the test's own folder."""
    file = tmp_path / "netboot.yaml"
    file.write_text(
        f"server: {{data_dir: {tmp_path}/data, images_dir: {tmp_path}/images, files_dir: {tmp_path}/files}}\n"
        "networks: [{name: lab, subnet: 127.0.0.0/8, interface: lo, range: 127.9.0.0-127.9.0.255}]\n"
        "clusters:\n"
        "- name: blue\n  endpoint: 127.0.0.1:6443\n  image: debian-12\n"
        f"  join: {{method: kubeadm, bind: cluster, kubeconfig: {tmp_path}/blue}}\n"
        f"- {{name: red, endpoint: '127.0.0.1:6443', image: debian-12@sha256:{'a' * 64}}}\n"
        "pools: [{cluster: blue, nodes: [{name: m1, macs: [52:54:00:00:00:01], image: micro}]}]\n"
    )
    return load([file])


def test_files_that_are_named_and_not_there_are_told_with_their_key(config: Config, tmp_path: Path) -> None:
    """A missing kubeconfig is a warning of `check`; once it is there nothing is said."""
    assert here.missing_files(config) == [
        f"{tmp_path}/netboot.yaml:7: clusters[blue].join.kubeconfig:"
        f" {tmp_path}/blue is not there; put it there"
    ]
    (tmp_path / "blue").touch()
    assert here.missing_files(config) == []


def test_images_that_are_not_in_the_store_are_told_once(config: Config, tmp_path: Path) -> None:
    """By name the latest generation counts, by digest that one."""
    assert [line.partition(";")[0] for line in here.missing_images(config)] == [
        f"clusters[blue].image: image debian-12 is not in {tmp_path}/images",
        f"clusters[red].image: image debian-12@sha256:{'a' * 64} is not in {tmp_path}/images",
        f"pools[default].nodes[m1].image: image micro is not in {tmp_path}/images",
    ]
    generation = tmp_path / "images" / "debian-12" / ("a" * 64)
    generation.mkdir(parents=True)
    (generation / "manifest.json").touch()
    assert len(here.missing_images(config)) == 2
    (generation.parent / "latest").symlink_to(generation.name)
    assert [line.split()[2] for line in here.missing_images(config)] == ["micro"]


def test_a_missing_interface_is_told_with_those_that_exist(config: Config) -> None:
    """The operator sees what to write."""
    away = replace(config, server=replace(config.server, interfaces=("nowhere0",)))
    found = [line for line in here.problems(away) if "nowhere0" in line]
    assert len(found) == 1
    assert "there is no interface nowhere0" in found[0]
    assert "lo" in found[0]


def test_an_address_that_is_not_ours_is_told(config: Config) -> None:
    """Nodes would be sent to an address that nobody answers at."""
    network = replace(config.inventory.networks["lab"], address=IPv4Address("127.77.0.1"))
    moved = replace(config, inventory=replace(config.inventory, networks={"lab": network}))
    assert any(
        "networks[lab].address: 127.77.0.1 is not on this host; name one of 127.0.0.1" in p
        for p in here.problems(moved)
    )


def test_an_interface_without_an_address_in_the_network_is_told(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an address of the network's own, nodes cannot be told where we are."""
    elsewhere = (IPv4Address("192.0.2.1"),)
    monkeypatch.setattr(net, "interface", lambda name: net.Interface(name, 1, None, elsewhere))
    told = "networks[lab]: lo has no address in 127.0.0.0/8; give it one"
    assert any(p.startswith(told) for p in here.problems(config))
    monkeypatch.setattr(net, "interface", lambda name: net.Interface(name, 1, None, ()))
    assert "interface lo has no IPv4 address; give it one (`ip address add`)" in here.problems(config)


def test_accounts_default_to_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """netboot where it exists, else nobody; netboot-files where it exists, else uid 65533."""
    entry = pwd.getpwuid(0)

    def only(*names: str) -> None:
        def find(name: str) -> pwd.struct_passwd:
            if name not in names:
                raise KeyError(name)
            return entry

        monkeypatch.setattr(pwd, "getpwnam", find)

    only("nobody", "netboot", "netboot-files")
    assert here.user(Server()).name == "netboot"
    assert here.helper_user(Server()).name == "netboot-files"
    only("nobody")
    assert here.user(Server()).name == "nobody"
    assert here.helper_user(Server()) == here.Account("65533", 65533, 65533)


def test_an_account_that_does_not_exist_is_told(config: Config) -> None:
    """No silent fallback for a name that the operator wrote."""
    server = replace(config.server, user="no-such-account", helper_user="nor-this-one")
    found = here.problems(replace(config, server=server))
    assert (
        "server.user: there is no account no-such-account; make it (useradd --system), or name another one"
        in found
    )
    assert any(p.startswith("server.helper_user: there is no account nor-this-one") for p in found)


def test_folders_are_looked_at(config: Config, tmp_path: Path) -> None:
    """Images must have their folder; the data's is made at start, where there is a folder for it."""
    found = "\n".join(here.problems(config))
    assert f"server.images_dir: there is no folder {tmp_path}/images; make it" in found
    assert "server.data_dir" not in found
    (tmp_path / "images").mkdir()
    (tmp_path / "data").touch()
    found = "\n".join(here.problems(config))
    assert "server.images_dir" not in found
    assert f"server.data_dir: {tmp_path}/data is no folder" in found


def test_readability_follows_the_modes_of_the_file_and_of_every_folder_above(tmp_path: Path) -> None:
    """Owner, group and others, each by its own bits: the first class that fits decides."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    file = folder / "kubeconfig"
    file.touch()
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.getuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    mine = here.Account("me", os.getuid() or 4242, os.getgid())
    group = here.Account("group", 4243, file.stat().st_gid)
    later = here.Account("later", 4244, 4244, frozenset({file.stat().st_gid}))
    other = here.Account("other", 4245, 4245)
    file.chmod(0o640)
    assert [here.readable(file, account) for account in (group, later, other)] == [True, True, False]
    file.chmod(0o604)
    assert [here.readable(file, account) for account in (group, later, other)] == [False, False, True]
    folder.chmod(0o700)
    assert not here.readable(file, other)
    assert here.readable(file, here.Account("root", 0, 0))
    assert not here.readable(folder / "absent", mine)


def test_a_taken_port_is_told_with_the_command_that_shows_who_has_it(config: Config) -> None:
    """The API's port and the boot port are tried on their addresses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        api = replace(config.api, port=port)
        found = here.problems(replace(config, api=api, server=replace(config.server, boot_port=port)))
    line = f"TCP port {port} on 127.0.0.1 cannot be opened: Address already in use; stop the program"
    assert sum(p.startswith(line) for p in found) == 2
    assert any(f"ss -tlnp sport = :{port}" in p for p in found)


def test_ports_of_the_daemon_that_serves_already_are_not_taken(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DHCP's, TFTP's and both of HTTP; what a stranger has is told all the same."""

    def refuse(name: str, port: int) -> net.Endpoint:
        raise StartError(f"UDP port {port} on interface {name} cannot be opened", "Stop dnsmasq.")

    monkeypatch.setattr(net, "open_endpoint", refuse)
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as others:
        port, taken = ours.getsockname()[1], others.getsockname()[1]
        found = replace(
            config,
            api=replace(config.api, port=taken),
            server=replace(config.server, boot_port=port),
        )
        mine = f"socket:[{os.fstat(ours.fileno()).st_ino}]"
        told = here.problems(found, Daemon(1, frozenset({mine})))
        assert any(f"TCP port {taken} on" in line for line in told)
        assert not any(f"TCP port {port} on" in line for line in told)
        assert "UDP port 67 on interface lo cannot be opened. Stop dnsmasq." in told
        monkeypatch.setattr(Daemon, "has", lambda *_: True)
        assert not any(" port " in line for line in here.problems(found, Daemon(1, frozenset())))


def test_what_dhcp_says_of_its_port_is_passed_on(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another DHCP server on the interface is found before `serve` is started."""

    def refuse(name: str, port: int) -> net.Endpoint:
        raise StartError(f"UDP port 67 on interface {name} cannot be opened", "Stop dnsmasq.")

    monkeypatch.setattr(net, "open_endpoint", refuse)
    assert "UDP port 67 on interface lo cannot be opened. Stop dnsmasq." in here.problems(config)


def by_hand(tmp_path: Path, join: str) -> Config:
    """Two nodes of a cluster built by hand."""
    file = tmp_path / "byhand.yaml"
    file.write_text(
        "networks: [{name: lab, subnet: 127.0.0.0/8, interface: lo, range: 127.9.0.0-127.9.0.255}]\n"
        f"clusters: [{{name: byhand, endpoint: '127.0.0.1:6443', join: {{method: static, {join}}}}}]\n"
        "pools:\n- cluster: byhand\n  nodes:\n"
        "  - {name: m1, macs: [52:54:00:00:00:01]}\n  - {name: m2, macs: [52:54:00:00:00:02]}\n"
    )
    return load([file])


def test_an_authority_that_cannot_sign_is_told_once_it_is_there(tmp_path: Path) -> None:
    """Missing files are told as such; then what is in them, and nothing of it is shown."""
    config = by_hand(tmp_path, f"ca_certificate: {tmp_path}/ca.crt, ca_key_file: {tmp_path}/ca.key")
    assert len(here.missing_files(config)) == 2 and not list(here.unusable(config))
    made = authority()
    (tmp_path / "ca.crt").write_bytes(made.pem)
    (tmp_path / "ca.key").write_text("hunter2")
    (told,) = here.unusable(config)
    assert told.startswith("clusters[byhand].join: ") and "ca.key holds no private key" in told
    assert "hunter2" not in told
    (tmp_path / "ca.key").write_bytes(
        made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    assert not list(here.unusable(config)) and not here.missing_files(config)


def test_each_declared_nodes_files_are_looked_for_in_the_folder(tmp_path: Path) -> None:
    """Every missing one is named, with the node that needs it; those of all nodes once."""
    folder = tmp_path / "byhand"
    config = by_hand(tmp_path, f"directory: {folder}")
    assert [line.partition(": ")[2] for line in here.missing_files(config)]
    folder.mkdir()
    told = list(here.unusable(config))
    assert all(line.startswith("clusters[byhand].join: ") for line in told)
    assert sum("m1" in line for line in told) >= 4 and sum("m2" in line for line in told) >= 4
    assert any("m2-serving.key is missing" in line for line in told)
    assert sum("kube-proxy.crt is missing" in line for line in told) == 1
