"""What a node of a cluster built by hand is given, from the operator's authority or folder."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from netboot.errors import ConfigError
from netboot.join import JoinRequest
from netboot.join.authority import SERVER, Wanted, authority
from netboot.join.kubelet import CONFIG, FLAGS, KUBECONFIG
from netboot.join.static_files import (
    CNI,
    PKI,
    PROXY_CONFIG,
    PROXY_KUBECONFIG,
    doubts,
    folder_files,
    static_files,
)
from netboot.model.inventory import JoinSettings
from tests.join.requests import document, joining, laid
from tests.kube.pki import Authority

NOW = time.time()
NAMES = ("m1", "m1-serving", "kube-proxy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An authority's two files."""
    made = Authority("by hand")
    (tmp_path / "ca.crt").write_bytes(made.certificate)
    (tmp_path / "ca.key").write_bytes(made.private_key)
    return tmp_path


def signing(folder: Path) -> dict[str, Any]:
    """Join settings with an authority that signs."""
    return {"method": "static", "ca_certificate": folder / "ca.crt", "ca_key_file": folder / "ca.key"}


@pytest.fixture
def filled(folder: Path) -> Path:
    """A folder with everything that m1 needs, as an operator made it."""
    signer = authority(folder / "ca.crt", folder / "ca.key", NOW)
    node = Wanted("system:node:m1", "system:nodes")
    wanted = (node, Wanted("m1", purpose=SERVER, names=("m1",)), Wanted("system:kube-proxy"))
    for name, one in zip(NAMES, wanted, strict=True):
        issued = signer.issue(one, NOW)
        (folder / f"{name}.crt").write_bytes(issued.certificate)
        (folder / f"{name}.key").write_bytes(issued.key)
    (folder / "ca.key").unlink()
    return folder


def made(request: JoinRequest) -> dict[str, tuple[bytes, int]]:
    """All files of one node."""
    return static_files(request, NOW)


def subject(files: dict[str, tuple[bytes, int]], name: str) -> str:
    """Whom a certificate is made out to."""
    return x509.load_pem_x509_certificate(laid(files, f"{PKI}/{name}.crt")).subject.rfc4514_string()


def test_the_authority_signs_for_kubelet_and_kube_proxy(folder: Path) -> None:
    """Client, serving and kube-proxy certificates, each with its own subject and key of mode 0600."""
    files = made(
        joining(join=signing(folder), names=("m1.example.test",), kubelet_args={"node-ip": "10.9.9.9"})
    )
    assert subject(files, "kubelet-client") == "CN=system:node:m1,O=system:nodes"
    assert subject(files, "kubelet-serving") == "CN=system:node:m1,O=system:nodes"
    assert subject(files, "kube-proxy") == "CN=system:kube-proxy"
    serving = x509.load_pem_x509_certificate(laid(files, f"{PKI}/kubelet-serving.crt"))
    names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["m1", "m1.example.test"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.77.0.10", "10.9.9.9"]
    keys = {name: mode for name, (_, mode) in files.items() if name.endswith(".key")}
    assert len(keys) == 3 and set(keys.values()) == {0o600}


def test_each_boot_gets_new_keys(folder: Path) -> None:
    """Nothing of the boot before is good for the next one's files."""
    first, second = (made(joining(join=signing(folder))) for _ in range(2))
    name = f"join/root{PKI}/kubelet-client.key"
    assert first[name] != second[name]


def test_the_authoritys_key_never_leaves(folder: Path) -> None:
    """Not in one byte of the material, also where the operator keeps it beside the certificate."""
    key = (folder / "ca.key").read_text()
    (folder / "ca.crt").write_text((folder / "ca.crt").read_text() + key)
    everything = b"".join(content for content, _ in made(joining(join=signing(folder))).values()).decode()
    assert all(line not in everything for line in key.splitlines()[1:-1])


def test_the_files_are_what_a_node_needs_to_be_ready(folder: Path) -> None:
    """Kubeconfigs by files, KubeletConfiguration with the serving pair, node-ip, units, kube-proxy's own."""
    files = made(joining(join=signing(folder)))
    assert files["join/method"] == (b"static\n", 0o644)
    for path, name in ((KUBECONFIG, "kubelet-client"), (PROXY_KUBECONFIG, "kube-proxy")):
        user = document(files, path)["users"][0]["user"]
        assert user == {"client-certificate": f"{PKI}/{name}.crt", "client-key": f"{PKI}/{name}.key"}
        assert files[f"join/root{path}"][1] == 0o600
    said = document(files, CONFIG)
    assert said["tlsCertFile"] == f"{PKI}/kubelet-serving.crt" and "serverTLSBootstrap" not in said
    assert said["tlsPrivateKeyFile"] == f"{PKI}/kubelet-serving.key" and said["systemReserved"]
    assert b"--node-ip=10.77.0.10" in laid(files, FLAGS)
    proxy = document(files, PROXY_CONFIG)
    assert proxy["clientConnection"] == {"kubeconfig": PROXY_KUBECONFIG} and proxy["hostnameOverride"] == "m1"
    assert f"--config={PROXY_CONFIG}".encode() in files["join/units/kube-proxy.service"][0]
    assert "join/units/kubelet.service" in files and f"join/root{CNI}" not in files


def test_certificate_and_key_load_as_a_server_and_a_client(folder: Path, tmp_path: Path) -> None:
    """OpenSSL takes each pair."""
    files = made(joining(join=signing(folder)))
    for name, kind in (
        ("kubelet-client", ssl.PROTOCOL_TLS_CLIENT),
        ("kubelet-serving", ssl.PROTOCOL_TLS_SERVER),
    ):
        (tmp_path / "pair.pem").write_bytes(
            laid(files, f"{PKI}/{name}.crt") + laid(files, f"{PKI}/{name}.key")
        )
        ssl.SSLContext(kind).load_cert_chain(tmp_path / "pair.pem")


def test_a_pod_cidr_brings_a_bridge(folder: Path) -> None:
    """Where the operator gives each node its pods' network no CNI DaemonSet is expected."""
    files = made(joining(join=signing(folder), kubelet_args={"pod-cidr": "10.244.7.0/24,fd00:7::/64"}))
    said = document(files, CNI)
    assert [plugin["type"] for plugin in said["plugins"]] == ["bridge", "portmap"]
    ipam = said["plugins"][0]["ipam"]
    assert ipam["ranges"] == [[{"subnet": "10.244.7.0/24"}], [{"subnet": "fd00:7::/64"}]]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert document(files, CONFIG)["podCIDR"] == "10.244.7.0/24,fd00:7::/64"
    with pytest.raises(ConfigError, match="pod-cidr: 'many' is no network"):
        made(joining(join=signing(folder), kubelet_args={"pod-cidr": "many"}))


def test_the_operators_folder_is_taken_as_it_is(filled: Path) -> None:
    """Byte for byte; another bundle where ca_certificate names one."""
    files = made(joining(join={"method": "static", "directory": filled}))
    for name, there in zip(NAMES, ("kubelet-client", "kubelet-serving", "kube-proxy"), strict=True):
        assert laid(files, f"{PKI}/{there}.crt") == (filled / f"{name}.crt").read_bytes()
        assert laid(files, f"{PKI}/{there}.key") == (filled / f"{name}.key").read_bytes()
    assert laid(files, f"{PKI}/ca.crt") == (filled / "ca.crt").read_bytes()
    other = Authority("another").certificate
    (filled / "other.crt").write_bytes(other)
    join = {"method": "static", "directory": filled, "ca_certificate": filled / "other.crt"}
    assert laid(made(joining(join=join)), f"{PKI}/ca.crt") == other


def test_every_missing_file_is_named(filled: Path) -> None:
    """In one report."""
    for name in ("m1.key", "m1-serving.crt", "kube-proxy.crt", "ca.crt"):
        (filled / name).unlink()
    with pytest.raises(ConfigError) as raised:
        made(joining(join={"method": "static", "directory": filled}))
    assert [Path(text.split(" is missing")[0]).name for text in raised.value.problems] == [
        "ca.crt", "m1.key", "m1-serving.crt", "kube-proxy.crt",
    ]  # fmt: skip
    assert "client key of m1" in str(raised.value)


def test_files_that_are_wrong_are_all_named(filled: Path) -> None:
    """Another node's certificate, and a key that does not fit."""
    (filled / "m2.crt").write_bytes((filled / "m1.crt").read_bytes())
    for name in ("m2.key", "m2-serving.crt", "m2-serving.key"):
        (filled / name).write_bytes((filled / name.replace("m2", "m1")).read_bytes())
    (filled / "kube-proxy.key").write_bytes((filled / "m1.key").read_bytes())
    found = doubts("m2", JoinSettings("static", directory=filled), NOW)
    assert (
        len(found) == 2
        and "m2.crt is made out to" in found[0]
        and "kube-proxy.key is not the key" in found[1]
    )
    assert doubts("m1", JoinSettings("static", directory=filled), NOW) == found[1:]


@pytest.fixture
def usable(folder: Path) -> JoinSettings:
    """An authority that signs."""
    return JoinSettings(**signing(folder))


def test_an_authority_is_doubted_once_for_all_nodes(usable: JoinSettings, folder: Path) -> None:
    """As `check --here` looks at it."""
    assert doubts("m1", usable, NOW) == ()
    (folder / "ca.key").write_text("nothing")
    assert doubts("m1", usable, NOW) == doubts("m2", usable, NOW) != ()
    assert not doubts("m1", JoinSettings("none"), NOW)


def test_a_join_without_either_is_refused() -> None:
    """`check` has said it before."""
    with pytest.raises(ConfigError, match="ca_certificate and ca_key_file, or directory"):
        made(joining(join={"method": "static"}))


def test_all_files_of_a_node_lie_in_the_folder(tmp_path: Path) -> None:
    """A node's name leads nowhere else."""
    join = JoinSettings("static", directory=tmp_path)
    assert {path.parent for path in folder_files("m1.example.test", join).values()} == {tmp_path}
