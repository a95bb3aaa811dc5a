"""Credentials: token files, plugins and keys."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from netboot.cluster import credentials
from netboot.cluster.credentials import Issued, bearer_of, parse_issued, run_plugin, tls_context
from netboot.cluster.kubeconfig import Credential, ExecPlugin, Kubeconfig
from netboot.errors import ClusterError, ClusterUnavailable
from tests.kube.pki import Authority

V1 = "client.authentication.k8s.io/v1"
SECRET = "canary-77aa01"


def config_for(plugin: ExecPlugin | None = None, ca: bytes = b"") -> Kubeconfig:
    """A kubeconfig with that plugin."""
    return Kubeconfig("https://192.0.2.1", ca, Credential(plugin=plugin))


def script(folder: Path, text: str) -> ExecPlugin:
    """A plugin made of a shell script."""
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return ExecPlugin((str(path), "argument"), {"GREETING": "hello"})


def issued(**status: str) -> str:
    """What a plugin prints."""
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


def test_a_token_file_is_read_at_each_use(tmp_path: Path) -> None:
    """Bound service-account tokens are renewed in place."""
    file = tmp_path / "token"
    credential = Credential(token_file=file)
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert bearer_of(credential) == token
    file.write_text("")
    with pytest.raises(ClusterUnavailable, match="holds no token"):
        bearer_of(credential)


async def test_a_plugin_gets_its_arguments_and_environment(tmp_path: Path) -> None:
    """As kubectl runs it: arguments, env entries and KUBERNETES_EXEC_INFO."""
    file = tmp_path / "answer"
    file.write_text(issued(token=SECRET, expirationTimestamp="2030-01-01T00:00:00Z"))
    plugin = script(
        tmp_path, f'[ "$1$GREETING" = argumenthello ] && [ -n "$KUBERNETES_EXEC_INFO" ] && cat {file}'
    )
    made = await run_plugin(plugin, config_for(plugin), {"PATH": "/usr/bin:/bin"})
    assert made == Issued(SECRET, b"", b"", 1893456000.0)
    assert SECRET not in repr(made)


async def test_a_plugin_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within its time limit, and its process is gone."""
    monkeypatch.setattr(credentials, "PLUGIN_TIMEOUT", 0.3)
    plugin = script(tmp_path, "exec sleep 60")
    began = time.monotonic()
    with pytest.raises(ClusterUnavailable, match="took more than"):
        await run_plugin(plugin, config_for(plugin), {"PATH": "/usr/bin:/bin"})
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"echo {SECRET}; exit 3", "failed with status 3"),
        (f"echo {SECRET}", "printed no ExecCredential"),
        (f"echo '{issued()}'", "neither a token nor a certificate"),
        (
            f"echo '{json.dumps({'apiVersion': V1, 'status': None, 'x': SECRET})}'",
            "printed no ExecCredential",
        ),
        (f"""echo '{{"apiVersion": "v9", "status": {{"token": "{SECRET}"}}}}'""", "in another version"),
    ],
)
async def test_a_plugin_that_fails_is_named_and_not_quoted(tmp_path: Path, text: str, reason: str) -> None:
    """Its output may hold a secret."""
    plugin = script(tmp_path, text)
    with pytest.raises(ClusterUnavailable) as raised:
        await run_plugin(plugin, config_for(plugin), {"PATH": "/usr/bin:/bin"})
    assert reason in str(raised.value) and SECRET not in str(raised.value)


async def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    """The operator is told which program."""
    plugin = ExecPlugin((str(tmp_path / "none"),))
    with pytest.raises(ClusterUnavailable, match=r"cannot run the credential plugin .*none"):
        await run_plugin(plugin, config_for(plugin), {})


def test_an_expiry_that_is_no_time_is_refused() -> None:
    """Rather than a credential used for ever."""
    output = issued(token="t", expirationTimestamp="tomorrow").encode()
    with pytest.raises(ClusterUnavailable, match="printed no ExecCredential"):
        parse_issued(output, ExecPlugin(("plugin",)))


def test_a_client_key_never_touches_a_disk() -> None:
    """Certificate and key are loaded from memory; broken ones are refused in words."""
    authority = Authority()
    certificate, key = authority.client("me")
    assert tls_context(config_for(ca=authority.certificate), certificate, key)
    with pytest.raises(ClusterError, match="cannot be used"):
        tls_context(config_for(ca=authority.certificate), certificate, authority.private_key)
    with pytest.raises(ClusterError, match="cannot be used"):
        tls_context(config_for(ca=b"nonsense"))
