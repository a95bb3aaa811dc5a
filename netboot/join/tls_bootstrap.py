"""Join method `tls-bootstrap`: a bootstrap token, with which the kubelet asks for its certificate itself.

For clusters without kubeadm (`kube-apiserver --enable-bootstrap-token-auth`). The token is made, bound and
taken back as kubeadm's is; the node trusts the authority of our kubeconfig, so cluster-info is not needed.
"""

from __future__ import annotations

from netboot.cluster import BootstrapToken
from netboot.join import File, JoinMaterial, JoinRequest, kubelet
from netboot.join.handing import TokenJoin
from netboot.join.naming import trusted


class TlsBootstrapJoin(TokenJoin):
    """Makes, hands out and takes back bootstrap kubeconfigs."""

    async def _material(self, request: JoinRequest, now: float) -> JoinMaterial:
        api = self._clusters.api(request.cluster.name)
        before = await self._naming.free(api, request, now)
        authority = await trusted(api, request)
        async with self._minted(api, request, now) as token:
            files = bootstrap_files(request, authority, token)
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
