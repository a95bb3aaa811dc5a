"""Calls about the cluster itself, bootstrap tokens, and what our account may do."""

from __future__ import annotations

import base64

import yaml

from netboot.cluster import Access, BootstrapToken, ClusterInfo, ServerVersion
from netboot.cluster.calls import Calls
from netboot.cluster.connection import Json
from netboot.errors import ClusterRefused

CLUSTER_INFO_LIMIT = 1 << 18
"""Characters of the kubeconfig inside cluster-info."""

TOKENS = "/api/v1/namespaces/kube-system/secrets"
CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class TokenCalls(Calls):
    """See `cluster.TokensApi`."""

    async def version(self) -> ServerVersion:
        """The server's version; providers write a minor version like `31+`."""
        body = await self._connection.call("GET", "/version")
        try:
            digits = [int("".join(filter(str.isdigit, str(body[part])))) for part in ("major", "minor")]
            return ServerVersion(digits[0], digits[1], str(body.get("gitVersion", ""))[:80])
        except (KeyError, ValueError):
            raise self._connection.nonsense("/version") from None

    async def cluster_info(self) -> ClusterInfo:
        """The ConfigMap cluster-info with the authority in its kubeconfig."""
        body = await self._connection.call("GET", CLUSTER_INFO)
        data = body.get("data")
        data = data if isinstance(data, dict) else {}
        text = str(data.get("kubeconfig", ""))
        signatures = {
            name.removeprefix("jws-kubeconfig-"): str(value)
            for name, value in data.items()
            if name.startswith("jws-kubeconfig-")
        }
        return ClusterInfo(text, authority_of(text), signatures)

    async def create_token(self, token: BootstrapToken) -> None:
        """POST the Secret of a bootstrap token."""
        await self._connection.call("POST", TOKENS, secret_of(token))

    async def delete_token(self, token_id: str) -> bool:
        """DELETE the Secret of a bootstrap token."""
        try:
            await self._connection.call("DELETE", f"{TOKENS}/bootstrap-token-{token_id}")
        except ClusterRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def creates_any_secret(self) -> bool:
        """POST an Opaque Secret as a dry run: admission has its say, and nothing is kept."""
        secret: Json = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": "netboot-doctor", "namespace": "kube-system"},
        }
        try:
            await self._connection.call("POST", f"{TOKENS}?dryRun=All", secret)
        except ClusterRefused:
            return False
        return True

    async def may(self, access: Access) -> bool:
        """Ask a SelfSubjectAccessReview."""
        attributes = {
            "verb": access.verb,
            "group": access.group,
            "resource": access.resource,
            "subresource": access.subresource,
            "namespace": access.namespace,
            "name": access.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        answer = await self._connection.call("POST", REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))


def secret_of(token: BootstrapToken) -> Json:
    """The Secret of a bootstrap token: the API checks nothing of it, so its fields are ours to get right."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token.token_id}", "namespace": "kube-system"},
        "stringData": {
            "description": token.description,
            "token-id": token.token_id,
            "token-secret": token.secret,
            "expiration": token.expiration,
            "usage-bootstrap-authentication": "true",
            **({"usage-bootstrap-signing": "true"} if token.signing else {}),
            "auth-extra-groups": ",".join(token.groups),
        },
    }


def authority_of(kubeconfig: str) -> bytes:
    """The authority in cluster-info's kubeconfig, in PEM; empty where there is none."""
    if len(kubeconfig) > CLUSTER_INFO_LIMIT:
        return b""
    try:
        cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
        return base64.b64decode(cluster["certificate-authority-data"], validate=True)
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        return b""
