"""What is missing in a cluster, or too much, in words, with the line that mends it (R2, R14, R16, R18).

Nothing here keeps the appliance from serving. Looking at start and after a reload asks for rights alone;
`netboot cluster doctor` also makes a token that lives for some seconds, to see it signed and cleaned up.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from netboot.cluster import BootstrapToken, ClusterApi, ClusterInfo, Clusters, ServerVersion
from netboot.cluster.approval import NODE_BOUND
from netboot.cluster.rights import DANGERS, TOKEN_METHODS, needed, unneeded
from netboot.errors import ClusterError, ClusterRefused
from netboot.model.finding import Finding
from netboot.model.inventory import Cluster

log = logging.getLogger("netboot.fleet")

SKEW_LIMIT = 30.0
"""Seconds of clock difference that are reported (R2)."""

PROBE_LIFE = 3.0
"""Seconds that the token lives which is made to see the cluster's controllers at work."""

SIGNED_WITHIN, CLEANED_WITHIN = 2.0, 5.0
"""Seconds in which a new token is signed, and an expired one is gone."""

AGAIN = 60.0
"""Seconds until a cluster is looked at again that could not be asked."""

APPLY = "kubectl apply -f config/kubernetes/appliance.yaml"
POLICY = "kubectl apply -f config/kubernetes/policy.yaml"
POLICY_SINCE = ServerVersion(1, 30)
NO_POLICY = "nothing in Kubernetes before 1.30 limits that: keep the account's credential like a key"
CONTROLLERS = "run the controller-manager with --controllers=*,bootstrapsigner,tokencleaner"
NTP = "synchronise both clocks (NTP)"


class Pins(Protocol):
    """`join.pins.pins_of`: the pins of an authority in PEM."""

    def __call__(self, authority: bytes, /) -> tuple[str, ...]: ...


class Doctor:
    """Looks at clusters; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        wanted: Callable[[], Iterable[Cluster]],
        *,
        pins: Pins,
        draw: Callable[[int], str],
        clock: Callable[[], float],
        probe_life: float = PROBE_LIFE,
    ) -> None:
        """`wanted` are the clusters with an API; `draw` gives so many characters of a token."""
        self._clusters = clusters
        self._wanted = wanted
        self._pins = pins
        self._draw = draw
        self._clock = clock
        self._probe_life = probe_life
        self._found: dict[str, tuple[Cluster, tuple[Finding, ...]]] = {}
        self._changed = asyncio.Event()
        self._probing: dict[str, asyncio.Lock] = {}

    # Beside the servers

    def reloaded(self) -> None:
        """The settings of clusters may have changed: look again."""
        self._changed.set()

    def problem(self, cluster: str) -> str | None:
        """What was missing or wrong in a cluster at the last look, in one line."""
        _, findings = self._found.get(cluster, (None, ()))
        bad = [f for f in findings if f.bad]
        more = f" (and {len(bad) - 1} more: `netboot cluster doctor {cluster}`)" if len(bad) > 1 else ""
        return f"{bad[0].state}: {bad[0].what}{more}; {bad[0].remedy}" if bad else None

    async def run(self) -> None:
        """Look at each cluster at start and where its settings changed, until nothing has to be mended."""
        while True:
            await self.look()
            try:
                async with asyncio.timeout(AGAIN):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    async def look(self) -> None:
        """One round over the clusters that were not found well as they are now."""
        wanted = {cluster.name: cluster for cluster in self._wanted()}
        self._found = {name: found for name, found in self._found.items() if name in wanted}
        due = [c for name, c in wanted.items() if self._is_due(name, c)]
        await asyncio.gather(*(self._look(cluster) for cluster in due))

    def _is_due(self, name: str, cluster: Cluster) -> bool:
        """Whether it was never looked at as it is now, or something was to be mended then."""
        seen, findings = self._found.get(name, (None, ()))
        return seen != cluster or any(f.bad for f in findings)

    async def _look(self, cluster: Cluster) -> None:
        try:
            findings = await self._rights(self._clusters.api(cluster.name), cluster)
        except ClusterError as error:
            log.debug("cluster %s: its rights cannot be asked for: %s", cluster.name, error)
            return  # health tells of it
        _, known = self._found.get(cluster.name, (None, ()))
        self._found[cluster.name] = (cluster, tuple(findings))
        for finding in findings:
            if finding.bad and finding not in known:
                log.warning(
                    "cluster %s: %s: %s; %s", cluster.name, finding.state, finding.what, finding.remedy
                )

    # The whole examination

    async def examine(self, cluster: Cluster) -> Sequence[Finding]:
        """Everything that can be looked at, the worst first."""
        async with self._probing.setdefault(cluster.name, asyncio.Lock()):
            findings = await self._examined(cluster)
        self.reloaded()  # what was mended meanwhile is told no longer
        return sorted(findings, key=lambda f: (not f.bad, f.state == "ok"))

    async def _examined(self, cluster: Cluster) -> list[Finding]:
        try:
            api = self._clusters.api(cluster.name)
            version = await api.version()
        except ClusterError as error:
            return [Finding("wrong", str(error), _remedy(error))]
        findings = [Finding("ok", f"the API answers: {version.text or f'{version.major}.{version.minor}'}")]
        findings += self._clock_of(api)
        for look in (self._rights, self._policy, self._authority, self._controllers):
            try:
                findings += await look(api, cluster)
            except ClusterError as error:
                if not _told_of(error, findings):
                    findings.append(Finding("wrong", str(error), APPLY))
        return list(dict.fromkeys(findings))

    def _clock_of(self, api: ClusterApi) -> list[Finding]:
        skew = api.skew
        if skew is None:
            return []
        if abs(skew) <= SKEW_LIMIT:
            return [Finding("ok", f"its clock and ours differ by {abs(skew):.0f} s")]
        word = "ahead of" if skew > 0 else "behind"
        return [Finding("wrong", f"its clock is {abs(skew):.0f} s {word} ours", NTP)]

    async def _rights(self, api: ClusterApi, cluster: Cluster) -> list[Finding]:
        rights = needed(cluster)
        may = dict(zip(rights, await _all(api.may(r.access) for r in rights), strict=True))
        findings = [
            Finding("missing", f"our account may not {r.access}, for: {r.why}", r.remedy)
            for r in rights
            if not may[r]
        ]
        if not findings:
            findings.append(Finding("ok", f"our account has the {len(rights)} rights that it needs"))
        return findings + await self._too_much(api, cluster)

    async def _too_much(self, api: ClusterApi, cluster: Cluster) -> list[Finding]:
        """An account that may everything is told of once."""
        everything = DANGERS[0]
        if await api.may(everything.access):
            return [
                Finding(
                    "too much",
                    "our account may do everything in the cluster",
                    f"{APPLY}, and give the appliance a kubeconfig of the account that it makes",
                )
            ]
        answers = await _all(api.may(d.access) for d in DANGERS[1:])
        found = [
            Finding(
                "too much",
                f"our account may {d.access}: {d.why}",
                "take that role away: `kubectl get rolebindings,clusterrolebindings -A -o wide` shows who "
                "gives it",
            )
            for d, may in zip(DANGERS[1:], answers, strict=True)
            if may
        ]
        further = unneeded(cluster)
        allowed = await _all(api.may(r.access) for r in further)
        files = {r.manifest: r for r, may in zip(further, allowed, strict=True) if may}
        mine = {r.manifest for r in needed(cluster)}
        return found + [
            Finding(
                "note",
                f"our account may {r.access}, which this cluster's settings do not need",
                f"kubectl delete -f config/kubernetes/{name}",
            )
            for name, r in files.items()
            if name not in mine
        ]

    async def _policy(self, api: ClusterApi, cluster: Cluster) -> list[Finding]:
        """RBAC cannot say which Secrets: an admission policy has to."""
        if cluster.join.method not in TOKEN_METHODS:
            return []
        if not await api.creates_any_secret():
            return [Finding("ok", "our account creates bootstrap tokens and no other Secrets")]
        text = "our account may create and delete Secrets of any kind in kube-system"
        if await api.version() < POLICY_SINCE:
            return [Finding("note", text, NO_POLICY)]
        return [Finding("too much", text, POLICY)]

    async def _authority(self, api: ClusterApi, cluster: Cluster) -> list[Finding]:
        """R14, and where cluster-info sends nodes."""
        if cluster.join.method != "kubeadm" or cluster.join.discovery != "token":
            return []
        write = "`kubeadm init phase bootstrap-token` writes it"
        try:
            info = await api.cluster_info()
        except ClusterRefused as error:
            if error.status != 404:
                raise
            text = "there is no ConfigMap cluster-info in kube-public, which nodes read first"
            return [Finding("missing", text, write)]
        ours, shown = self._pins(await api.authority()), self._pins(info.ca)
        if not shown:
            return [Finding("missing", "the ConfigMap cluster-info names no authority", write)]
        if not set(shown) <= set(ours):
            text = f"cluster-info shows another authority ({', '.join(shown)}) than our kubeconfig trusts"
            return [Finding("wrong", text, "one of the two is wrong: mend it before a node is sent there")]
        return [
            Finding("ok", "cluster-info shows the authority that our kubeconfig trusts"),
            *_end(info, cluster),
        ]

    async def _controllers(self, api: ClusterApi, cluster: Cluster) -> list[Finding]:
        """R18: a token that lives for some seconds is signed, and cleaned up."""
        if cluster.join.method not in TOKEN_METHODS:
            return []
        probe = BootstrapToken(
            token_id=self._draw(6),
            secret=self._draw(16),
            expiration=_rfc3339(math.ceil(self._clock() + (api.skew or 0.0) + self._probe_life)),
            groups=(NODE_BOUND,),
            description="netboot: a probe of the cluster's controllers, which nobody is given",
        )
        await api.create_token(probe)
        try:
            awaited = cluster.join.method == "kubeadm" and cluster.join.discovery == "token"
            signed = not awaited or await self._until(SIGNED_WITHIN, lambda: _shows(api, probe, True))
            if signed:
                await asyncio.sleep(self._probe_life)
                await self._until(CLEANED_WITHIN, lambda: _shows(api, probe, False), at_least=not awaited)
        finally:
            left = await api.delete_token(probe.token_id)
        if not signed:
            text = "cluster-info is not signed: the controller bootstrapsigner does not run"
            return [Finding("missing", text, CONTROLLERS)]
        if left:
            text = "expired tokens are not deleted: the controller tokencleaner does not run"
            return [Finding("missing", text, CONTROLLERS)]
        return [Finding("ok", "a token was signed and, when it expired, deleted")]

    async def _until(
        self, seconds: float, check: Callable[[], Awaitable[bool]], *, at_least: bool = False
    ) -> bool:
        """Whether it became true in time; `at_least` waits in any case: nothing can be seen meanwhile."""
        until = asyncio.get_running_loop().time() + seconds
        while at_least or not await check():
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(0.1)
        return True


def _remedy(error: ClusterError) -> str:
    """What lets a cluster answer us that does not."""
    if isinstance(error, ClusterRefused) and error.status == 401:
        return "renew the credential in the kubeconfig"
    return "mend the network, the API server or the kubeconfig"


def _told_of(error: ClusterError, findings: Iterable[Finding]) -> bool:
    """Whether what was forbidden is a right that was found missing."""
    forbidden = isinstance(error, ClusterRefused) and error.status == 403
    return forbidden and any(f.state == "missing" for f in findings)


async def _shows(api: ClusterApi, token: BootstrapToken, shown: bool) -> bool:
    """Whether cluster-info carries a token's signature, or not."""
    return (token.token_id in (await api.cluster_info()).signatures) is shown


def _end(info: ClusterInfo, cluster: Cluster) -> list[Finding]:
    """kubeadm finds the cluster at our endpoint, and goes on at the one in cluster-info."""
    found = re.search(r"^\s*server:\s*[\"']?(https://\S+?)[\"']?/?\s*$", info.kubeconfig, re.MULTILINE)
    server = found[1].removeprefix("https://").lower() if found else ""
    if server == cluster.endpoint.lower():
        return []
    text = f"cluster-info sends nodes on to {server[:100] or 'nowhere'}, not to {cluster.endpoint}"
    return [Finding("note", text, "look that nodes reach it, or mend `server` in that ConfigMap")]


async def _all(questions: Iterable[Awaitable[bool]]) -> list[bool]:
    """The answers to questions that are asked at the same time."""
    return list(await asyncio.gather(*questions))


def _rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
