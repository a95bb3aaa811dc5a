"""Join method `tls-bootstrap`: a bootstrap token, with which the kubelet asks for its certificate itself.

For clusters without kubeadm (`kube-apiserver --enable-bootstrap-token-auth`). The token is made, bound and
taken back as kubeadm's is; the node trusts the authority of our kubeconfig, so cluster-info is not needed.
"""

from __future__ import annotations

import logging

from netboot.cluster import BootstrapToken, Clusters
from netboot.errors import StoreError
from netboot.join import File, JoinMaterial, JoinRequest, kubelet
from netboot.join.minting import Mint
from netboot.join.naming import Naming, trusted
from netboot.join.turns import Turns

log = logging.getLogger("netboot.join")


class TlsBootstrapJoin:
    """Makes, hands out and takes back bootstrap kubeconfigs."""

    def __init__(self, clusters: Clusters, turns: Turns, naming: Naming, mint: Mint) -> None:
        self._clusters = clusters
        self._turns = turns
        self._naming = naming
        self._mint = mint

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """A new token for this boot. Raises JoinWithheld."""
        async with self._turns.asking(request, now):
            return await self._material(request, now)

    async def revoke(self, boot_id: str) -> None:
        """Delete the tokens of this boot; what cannot be deleted now is tried again until it is gone."""
        async with self._turns.alone(boot_id):
            self._turns.forget(boot_id)
            try:
                await self._mint.revoke(boot_id)
            except StoreError as error:
                log.warning("the tokens of boot %s cannot be looked up: %s", boot_id, error)

    async def _material(self, request: JoinRequest, now: float) -> JoinMaterial:
        api = self._clusters.api(request.cluster.name)
        before = await self._naming.free(api, request, now)
        authority = await trusted(api, request)
        await self._mint.revoke(request.boot_id)
        self._turns.check(request.boot_id)
        token = await self._mint.mint(api, request, now)
        try:
            files = bootstrap_files(request, authority, token)
            await self._turns.count(request.boot_id)
        except BaseException:
            await self._mint.revoke(request.boot_id)
            raise
        return JoinMaterial("tls-bootstrap", files, (token.token_id,), before.incarnation if before else "")


def bootstrap_files(request: JoinRequest, authority: bytes, token: BootstrapToken) -> dict[str, File]:
    """What the node needs; the bootstrap kubeconfig alone is secret, and goes once it has served."""
    user = kubelet.by_token(f"{token.token_id}.{token.secret}")
    return {
        **kubelet.method("tls-bootstrap"),
        **kubelet.kubelet_files(
            request,
            authority=authority,
            flags={"bootstrap-kubeconfig": kubelet.BOOTSTRAP},
            serverTLSBootstrap=request.cluster.approves_serving,
        ),
        **kubelet.laid(kubelet.BOOTSTRAP, kubelet.kubeconfig(request, authority, user), kubelet.SECRET),
    }
