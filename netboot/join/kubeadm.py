"""Join method `kubeadm`: a bootstrap token for one boot of one node, handed out as a JoinConfiguration.

Requirements by their numbers in docs/kubernetes.md. The order of work: is the name free (R19), is the
cluster the pinned one (R14), take back this boot's former token (R6), mint (R1 to R4), wait until the
cluster has signed (R5; not with `discovery: file`), write the configuration (R15).
"""

from __future__ import annotations

import asyncio
import re

from netboot.cluster import BootstrapToken, ClusterApi, Clusters
from netboot.join import File, JoinMaterial, JoinRequest, JoinWithheld, reasons
from netboot.join import token as tokens
from netboot.join.handing import TokenJoin
from netboot.join.kubeadm_config import (
    DISCOVERY_FILE,
    DISCOVERY_TIMEOUT,
    Credential,
    discovery_kubeconfig,
    join_configuration,
)
from netboot.join.minting import Mint
from netboot.join.naming import Naming, pinned, trusted
from netboot.join.turns import Turns

SIGNED_WITHIN = 2.0
"""Seconds in which cluster-info has to carry a new token's signature (R5); it takes 0.008 to 0.101."""

SIGNATURE_INTERVAL = 0.05

CERTIFICATE_KEY = re.compile(r"[0-9a-f]{64}")
"""What `kubeadm init phase upload-certs` prints: an AES-256 key."""


class KubeadmJoin(TokenJoin):
    """Makes, hands out and takes back bootstrap tokens that kubeadm joins with."""

    def __init__(
        self,
        clusters: Clusters,
        turns: Turns,
        naming: Naming,
        mint: Mint,
        *,
        discovery_timeout: int = DISCOVERY_TIMEOUT,
        signed_within: float = SIGNED_WITHIN,
    ) -> None:
        super().__init__(clusters, turns, naming, mint)
        self._discovery_timeout = discovery_timeout
        self._signed_within = signed_within

    async def _material(self, request: JoinRequest, now: float) -> JoinMaterial:
        api = self._clusters.api(request.cluster.name)
        before = await self._naming.free(api, request, now)
        by_file = request.cluster.join.discovery == "file"
        authority = await trusted(api, request) if by_file else b""
        pins = () if by_file else await pinned(api, request)
        certificate_key = await asyncio.to_thread(_certificate_key, request)
        version = await api.version()
        async with self._minted(api, request, now) as token:
            if not by_file:
                await self._signed(api, token, request)
        credential = Credential(f"{token.token_id}.{token.secret}", pins, certificate_key)
        configuration = join_configuration(
            request, credential, server=version, discovery_timeout=self._discovery_timeout
        )
        files: dict[str, File] = {
            "join/method": (b"kubeadm\n", 0o644),
            "join/kubeadm.yaml": (configuration, 0o600),
        }
        if by_file:
            files[DISCOVERY_FILE] = (discovery_kubeconfig(request, authority), 0o644)
        if ignored := request.cluster.join.ignore_preflight:
            files["join/ignore_preflight"] = (f"{','.join(ignored)}\n".encode(), 0o644)
        return JoinMaterial("kubeadm", files, (token.token_id,), before.incarnation if before else "")

    async def _signed(self, api: ClusterApi, token: BootstrapToken, request: JoinRequest) -> None:
        """R5: wait until cluster-info carries this token's signature, for the node is refused before that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._signed_within
        seen = False
        while True:
            info = await api.cluster_info()
            if jws := info.signatures.get(token.token_id):
                seen = True
                if tokens.signs(jws, info.kubeconfig, token):
                    return
            if loop.time() >= until:
                if seen:
                    raise JoinWithheld(reasons.wrong_signature(request), None)
                raise JoinWithheld(reasons.unsigned(request, api.skew, self._signed_within), 10.0)
            await asyncio.sleep(SIGNATURE_INTERVAL)


def _certificate_key(request: JoinRequest) -> str:
    """The key of the certificates that were uploaded, read anew each time. Raises JoinWithheld."""
    join = request.cluster.join
    if join.role != "control-plane":
        return ""
    try:
        text = join.certificate_key_file.read_text("ascii").strip() if join.certificate_key_file else ""
    except (OSError, UnicodeError):
        text = ""
    if not CERTIFICATE_KEY.fullmatch(text):
        raise JoinWithheld(reasons.no_certificate_key(request), 15.0)
    return text
