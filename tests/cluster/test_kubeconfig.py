"""Reading kubeconfigs: what is taken, what is refused and in which words."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from netboot.cluster.kubeconfig import Kubeconfig, load, load_in_cluster
from netboot.errors import ClusterError

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
SECRET = "canary-8c1f2e"


def document(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    """A good kubeconfig, with its cluster and user changed."""
    ca = base64.b64encode(PEM.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "other", "cluster": {"server": "https://192.0.2.9"}},
            {
                "name": "c",
                "cluster": {
                    "server": "https://192.0.2.1:6443",
                    "certificate-authority-data": ca,
                    **(cluster or {}),
                },
            },
        ],
        "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def loaded(folder: Path, **parts: Any) -> Kubeconfig:
    """Write and load it."""
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document(**parts)))
    return load(path)


def test_the_current_context_decides(tmp_path: Path) -> None:
    """Server, authority and credential are those of the current context, and no secret is in the repr."""
    config = loaded(tmp_path)
    assert (config.server, config.ca.decode()) == ("https://192.0.2.1:6443", PEM)
    assert config.credential.token == SECRET
    assert SECRET not in repr(config)


def test_relative_paths_count_from_the_kubeconfig(tmp_path: Path) -> None:
    """Files of certificates, keys, tokens and plugins lie beside it."""
    (tmp_path / "pki").mkdir()
    for name in ("ca.crt", "me.crt", "me.key"):
        (tmp_path / "pki" / name).write_text(PEM)
    user = {
        "client-certificate": "pki/me.crt",
        "client-key": "pki/me.key",
        "tokenFile": "token",
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "args": ["a"]},
    }
    ca = {"certificate-authority": "pki/ca.crt", "certificate-authority-data": ""}
    config = loaded(tmp_path, cluster=ca, user=user)
    assert config.credential.certificate.decode() == PEM
    assert config.credential.token_file == tmp_path / "token"
    assert config.credential.plugin is not None
    assert config.credential.plugin.command == (str(tmp_path / "plugin"), "a")
    assert {p.name for p in config.files} == {"kubeconfig", "ca.crt", "me.crt", "me.key"}


def test_data_wins_over_a_file(tmp_path: Path) -> None:
    """`*-data` is preferred, as kubectl does; the file need not even exist."""
    config = loaded(tmp_path, cluster={"certificate-authority": "missing.crt"})
    assert config.ca.decode() == PEM


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"cluster": {"insecure-skip-tls-verify": True}}, "insecure-skip-tls-verify"),
        ({"cluster": {"server": "http://192.0.2.1"}}, "no https:// address"),
        ({"cluster": {"certificate-authority-data": ""}}, "no certificate-authority"),
        ({"cluster": {"certificate-authority-data": "%%%"}}, "is no base64"),
        ({"user": {}}, "without a credential"),
        ({"user": {"client-certificate-data": "AAAA"}}, "without its key"),
        ({"user": {"username": "me", "password": SECRET}}, "`username`, which is not supported"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "`auth-provider`"),
        ({"user": {"as": "admin", "token": SECRET}}, "`as`"),
        (
            {"user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}},
            "v1alpha1",
        ),
        ({"user": {"token": "two\nlines"}}, "no line of ASCII text"),
        (
            {"user": {"client-certificate": "missing.crt", "client-key": "missing.key"}},
            "missing.crt: No such file",
        ),
    ],
)
def test_what_would_be_unsafe_or_unusable_is_refused(
    tmp_path: Path, parts: dict[str, Any], text: str
) -> None:
    """The error names the file and the fault, and shows no secret."""
    with pytest.raises(ClusterError) as raised:
        loaded(tmp_path, **parts)
    assert text in str(raised.value) and str(tmp_path) in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a: [", "is no YAML (line 1)"),
        ("[]", "is no kubeconfig"),
        ("kind: Config", "names no current-context"),
        ("kind: Config\ncurrent-context: x\ncontexts: 5", "has no context named 'x'"),
        (f"token: {SECRET}: bad", "is no YAML (line 1)"),
        ("\x00", "is no YAML"),
    ],
)
def test_a_broken_file_is_refused_without_quoting_it(tmp_path: Path, content: str, text: str) -> None:
    """A YAML error of the library would show the line, and with it the token."""
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ClusterError) as raised:
        load(path)
    assert text in str(raised.value) and SECRET not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The operator is told which file."""
    with pytest.raises(ClusterError, match="missing: No such file"):
        load(tmp_path / "missing")


def test_a_pod_uses_its_own_account(tmp_path: Path) -> None:
    """Server by the environment, token and authority by the mounted folder; outside a pod it is refused."""
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "ca.crt").write_text(PEM)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    config = load_in_cluster(environ, tmp_path)
    assert config.server == "https://[fd00::1]:443"
    assert config.credential.token_file == tmp_path / "token"
    with pytest.raises(ClusterError, match="we run in no pod"):
        load_in_cluster({}, tmp_path)
