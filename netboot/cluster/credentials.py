"""Turn a kubeconfig's credential into what a request carries: a bearer, or a certificate for TLS."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from netboot.cluster.kubeconfig import Credential, ExecPlugin, Kubeconfig
from netboot.errors import ClusterError, ClusterUnavailable

PLUGIN_TIMEOUT = 15.0
"""Seconds that a credential plugin may take."""

PLUGIN_OUTPUT = 1 << 18

RENEW_BEFORE = 60.0
"""Seconds before its expiry at which a plugin's credential is asked for again."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a plugin printed; `expires` in seconds since the epoch, None where it does not say."""

    token: str = field(repr=False)
    certificate: bytes
    key: bytes = field(repr=False)
    expires: float | None


def tls_context(config: Kubeconfig, certificate: bytes = b"", key: bytes = b"") -> ssl.SSLContext:
    """A context that trusts the kubeconfig's authority alone. Raises ClusterError for unusable PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=config.ca.decode("ascii"))
        if certificate:
            _load_pair(context, certificate, key)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or "not PEM"
        raise ClusterError(f"the certificates of the kubeconfig cannot be used: {reason}") from None
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Through an anonymous file, so that the key is never written to a disk."""
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    finally:
        os.close(descriptor)


def _no_password() -> str:
    raise ClusterError("the client key of the kubeconfig is encrypted: a daemon needs one without a password")


def bearer_of(credential: Credential) -> str:
    """The token as it is now: a tokenFile is read again at each use. Empty without one."""
    if credential.token_file is None:
        return credential.token
    try:
        token = credential.token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ClusterUnavailable(f"cannot read the token file {credential.token_file}") from None
    if not token or not token.isprintable():
        raise ClusterUnavailable(f"the token file {credential.token_file} holds no token")
    return token


async def run_plugin(plugin: ExecPlugin, config: Kubeconfig, environ: Mapping[str, str]) -> Issued:
    """Run a credential plugin once, within its time limit. Raises ClusterUnavailable."""
    name = plugin.command[0]
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if plugin.provide_cluster_info:
        info["spec"] = {"interactive": False, "cluster": {"server": config.server}}
    env = {**environ, **plugin.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        process = await asyncio.create_subprocess_exec(
            *plugin.command,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # plugins write what they like there, secrets too
        )
    except OSError as error:
        raise ClusterUnavailable(f"cannot run the credential plugin {name}: {error.strerror}") from None
    try:
        async with asyncio.timeout(PLUGIN_TIMEOUT):
            output = await _output(process)
    except TimeoutError:
        raise ClusterUnavailable(
            f"the credential plugin {name} took more than {PLUGIN_TIMEOUT:.0f} s"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ClusterUnavailable(f"the credential plugin {name} failed with status {process.returncode}")
    return parse_issued(output, plugin)


async def _output(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    parts, size = [], 0
    while size <= PLUGIN_OUTPUT and (part := await process.stdout.read(1 << 16)):
        parts.append(part)
        size += len(part)
    if size <= PLUGIN_OUTPUT:
        await process.wait()
    return b"".join(parts)


def parse_issued(output: bytes, plugin: ExecPlugin) -> Issued:
    """Read an ExecCredential; raises ClusterUnavailable for anything else, never quoting it."""
    name = plugin.command[0]
    try:
        document = json.loads(output)
        status = document["status"]
        expires = status.get("expirationTimestamp")
        issued = Issued(
            token=str(status.get("token") or ""),
            certificate=str(status.get("clientCertificateData") or "").encode(),
            key=str(status.get("clientKeyData") or "").encode(),
            expires=datetime.fromisoformat(expires.replace("Z", "+00:00")).timestamp() if expires else None,
        )
        version = document["apiVersion"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ClusterUnavailable(
            f"the credential plugin {name} printed no ExecCredential with a status"
        ) from None
    if version != plugin.api_version:
        raise ClusterUnavailable(
            f"the credential plugin {name} answered in another version than it was asked in"
        )
    if not issued.token and not issued.certificate:
        raise ClusterUnavailable(f"the credential plugin {name} gave neither a token nor a certificate")
    return issued
