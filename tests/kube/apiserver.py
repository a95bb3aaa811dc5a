"""The HTTP side of the stand-in, and its command line.

    python -m tests.kube.apiserver --listen 127.0.0.1:6443 --dir DIR

writes DIR/{ca.crt,ca.key,admin.kubeconfig,appliance.kubeconfig}, then DIR/ready once it answers, and
listens for tests on the Unix socket DIR/control.sock (see control.py). It knows nobody but the holders
of those two kubeconfigs, bootstrap tokens and certificates of its own authority.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import json
import os
import secrets
import signal
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.kube import patches, pki, status
from tests.kube.access import CERTIFICATES, NODE_GROUP, NODE_PREFIX, Authorizer, Question
from tests.kube.bootstrap import BearerCache, User, tokens
from tests.kube.controllers import CLUSTER_INFO, JWS_PREFIX, Controllers, Settings, signatures
from tests.kube.objects import Key, Objects, stamp
from tests.kube.status import ApiError, Json

RBAC = Path(__file__).resolve().parents[2] / "config" / "kubernetes" / "appliance.yaml"
APPLIANCE = User(
    "system:serviceaccount:netboot:appliance",
    ("system:serviceaccounts", "system:serviceaccounts:netboot", "system:authenticated"),
)
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API."""

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS = {
    (k.group, k.version, k.resource): k
    for k in (
        Kind("", "v1", "namespaces", "Namespace", False),
        Kind("", "v1", "secrets", "Secret", True),
        Kind("", "v1", "configmaps", "ConfigMap", True),
        Kind("", "v1", "events", "Event", True),
        Kind("", "v1", "nodes", "Node", False, ("status",)),
        Kind("coordination.k8s.io", "v1", "leases", "Lease", True),
        Kind(
            CERTIFICATES,
            "v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
            False,
            ("status", "approval"),
        ),
        Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    )
}

ALLOWED_LABELS = (
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
"""Labels under kubernetes.io and k8s.io that the NodeRestriction admission lets a kubelet set itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What a URL names."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """Where the object stands."""
        return Key(self.kind.resource, self.namespace, self.name)

    @property
    def resource(self) -> str:
        """As RBAC writes it."""
        return self.kind.resource + (f"/{self.subresource}" if self.subresource else "")


def target_of(path: str) -> Target:
    """Parse the path of a resource; raises 404."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise status.no_route()
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = KINDS.get((group, version, rest[0])) if rest else None
    if kind is None or len(rest) > 3:
        raise status.no_route()
    name, subresource = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if subresource and subresource not in kind.subresources:
        raise status.no_route()
    return Target(kind, namespace, name, subresource)


VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def verb_of(request: web.Request, target: Target) -> str:
    """The verb as RBAC has it."""
    if request.method == "GET":
        if request.query.get("watch") in ("1", "true"):
            return "watch"
        return "get" if target.name else "list"
    if request.method not in VERBS:
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    return VERBS[request.method]


class ApiServer:
    """One cluster. `start`, then `stop`; or the `running` context manager below."""

    def __init__(self, directory: Path, version: str = "v1.34.2") -> None:
        self.directory = directory
        self.version = version
        self.settings = Settings()
        self.objects = Objects(now=lambda: time.time() + self.settings.clock_skew)
        self.authority = pki.authority_in(directory)
        self.authorizer = Authorizer()
        if RBAC.exists():
            self.authorizer.load(RBAC)
        self.bearers = BearerCache(self.objects)
        self.service_accounts = {_appliance_token(directory): APPLIANCE}
        self.requests: deque[Json] = deque(maxlen=20_000)
        self.port = 0
        self._wrong = pki.Authority("kubernetes")
        self._count = 0
        self._living: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._host = ""
        self._tls: ssl.SSLContext | None = None
        self._site: web.TCPSite | None = None
        self._runners: list[web.AppRunner] = []

    async def start(self, host: str, port: int, advertise: str | None = None) -> None:
        """Bind, write the kubeconfig files, run the controllers."""
        self._host = host
        self._tls = self._tls_context([host, *([advertise] if advertise else [])])
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runners.append(web.AppRunner(application, access_log=None, handle_signals=False))
        await self._runners[0].setup()
        await self._listen(port)
        self.server = f"https://{_bracketed(advertise or host)}:{self.port}"
        self._write_kubeconfigs()
        self._fill()
        await self._control()
        controllers = Controllers(self.objects, self.authority, self.authorizer, self.settings)
        self._tasks.append(asyncio.get_running_loop().create_task(controllers.run()))
        (self.directory / "ready").write_text(f"{self.server}\n")

    async def _listen(self, port: int) -> None:
        self._site = web.TCPSite(
            self._runners[0], self._host, port, ssl_context=self._tls, reuse_address=True
        )
        await self._site.start()
        if not self.port:
            self.port = self._runners[0].addresses[0][1]

    async def stop(self) -> None:
        """Stop everything."""
        for task in [*self._tasks, *self._living.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._living.values(), return_exceptions=True)
        for runner in self._runners:
            await runner.cleanup()

    # What a cluster starts with

    def _tls_context(self, addresses: list[str]) -> ssl.SSLContext:
        certificate, key = self.authority.server(addresses)
        path = self.directory / "server.pem"
        path.touch(mode=0o600)
        path.write_bytes(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.load_verify_locations(cadata=self.authority.certificate.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _write_kubeconfigs(self) -> None:
        certificate, key = self.authority.client("kubernetes-admin", ["system:masters"])
        admin = {"client-certificate-data": pki.b64(certificate), "client-key-data": pki.b64(key)}
        appliance = {"token": next(iter(self.service_accounts))}
        for name, user in (("admin", admin), ("appliance", appliance)):
            path = self.directory / f"{name}.kubeconfig"
            path.touch(mode=0o600)
            path.write_text(pki.kubeconfig(self.server, self.authority.certificate, user))

    def _fill(self) -> None:
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self.objects.create(Key("namespaces", "", name), {"apiVersion": "v1", "kind": "Namespace"})
        content = pki.cluster_info_kubeconfig(self.server, self.authority.certificate)
        self._configmap(CLUSTER_INFO, {"kubeconfig": content})
        configuration = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "clusterName": "lab",
            "kubernetesVersion": self.version,
        }
        kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
        self._configmap(
            Key("configmaps", "kube-system", "kubeadm-config"),
            {"ClusterConfiguration": json.dumps(configuration)},
        )
        self._configmap(Key("configmaps", "kube-system", "kubelet-config"), {"kubelet": json.dumps(kubelet)})
        self._configmap(Key("configmaps", "kube-system", "kube-proxy"), {"config.conf": "{}"})

    def _configmap(self, key: Key, data: dict[str, str]) -> None:
        self.objects.create(key, {"apiVersion": "v1", "kind": "ConfigMap", "data": data})

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        user = ANONYMOUS
        try:
            await self._faults(request)
            user = self._user(request)
            response = await self._answer(request, user)
        except ApiError as error:
            response = web.json_response(error.body(), status=error.code)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            response = web.json_response(
                status.bad_request(f"{type(error).__name__}: {error}").body(), status=400
            )
        self.requests.append(
            {
                "method": request.method,
                "path": request.path_qs,
                "user": user.name,
                "status": response.status,
                "at": self.objects.now(),
            }
        )
        if not response.prepared:
            response.headers["Date"] = formatdate(self.objects.now(), usegmt=True)
        return response

    async def _faults(self, request: web.Request) -> None:
        if self.settings.down:
            if request.transport:
                request.transport.abort()
            raise asyncio.CancelledError
        if self.settings.slow:
            await asyncio.sleep(self.settings.slow)
        self._count += 1
        if self.settings.half_500 and self._count % 2:
            raise status.internal("etcdserver: request timed out")

    def _user(self, request: web.Request) -> User:
        header = request.headers.get("Authorization", "")
        if header.startswith("Bearer "):
            bearer = header.removeprefix("Bearer ").strip()
            self.bearers.life = self.settings.token_life
            user = self.service_accounts.get(bearer) or self.bearers.user(bearer)
            if user is None:
                raise status.unauthorized()
            return user
        certificate = request.get_extra_info("peercert")
        if certificate:
            fields = [pair for part in certificate["subject"] for pair in part]
            name = next((v for k, v in fields if k == "commonName"), "")
            groups = tuple(v for k, v in fields if k == "organizationName")
            return User(name, (*groups, "system:authenticated"))
        return ANONYMOUS

    async def _answer(self, request: web.Request, user: User) -> web.StreamResponse:
        path = request.path
        if path in ("/version", "/healthz", "/readyz", "/livez"):
            self._authorize(user, Question("get", "", "", path=path))
            return (
                web.json_response(_version(self.version)) if path == "/version" else web.Response(text="ok")
            )
        target = target_of(path)
        verb = verb_of(request, target)
        self._authorize(
            user, Question(verb, target.kind.group, target.resource, target.namespace, target.name)
        )
        if verb == "watch":
            return await self._watch(request, target)
        body = await _body(request)
        made = self._operate(request, user, target, verb, body)
        return web.json_response(made, status=201 if verb == "create" else 200)

    def _authorize(self, user: User, question: Question) -> None:
        if self.authorizer.allows(user, question):
            return
        if question.path:
            raise status.forbidden(f'forbidden: User "{user.name}" cannot get path "{question.path}"')
        where = f'in the namespace "{question.namespace}"' if question.namespace else "at the cluster scope"
        named = f' "{question.name}"' if question.name else ""
        raise status.forbidden(
            f'{question.resource.partition("/")[0]}{named} is forbidden: User "{user.name}" cannot '
            f'{question.verb} resource "{question.resource}" in API group "{question.group}" {where}'
        )

    def _operate(self, request: web.Request, user: User, target: Target, verb: str, body: Any) -> Json:
        if verb == "get":
            return self._cluster_info(user) if target.key == CLUSTER_INFO else self.objects.get(target.key)
        if verb == "list":
            return self._list(request, target)
        if verb == "delete":
            self.objects.delete(target.key, (body or {}).get("preconditions"))
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        if verb == "create":
            return self._create(user, target, body)
        present = self.objects.get(target.key)
        content_type = request.headers.get("Content-Type", "")
        wanted = body if verb == "update" else patches.apply(content_type, present, body)
        return self._update(user, target, present, wanted)

    # Verbs

    def _list(self, request: web.Request, target: Target) -> Json:
        items = self.objects.list(target.kind.resource, target.namespace)
        for term in filter(None, request.query.get("fieldSelector", "").split(",")):
            name, _, value = term.partition("=")
            if name != "metadata.name":
                raise status.bad_request(f'field label not supported: "{name}"')
            items = [i for i in items if i["metadata"]["name"] == value]
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": {"resourceVersion": str(self.objects.version)},
            "items": items,
        }

    def _create(self, user: User, target: Target, body: Json) -> Json:
        if target.kind.resource == "selfsubjectaccessreviews":
            return self._review(user, body)
        metadata = body.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        body.update(kind=target.kind.kind, apiVersion=target.kind.api_version)
        name = str(metadata.get("name", ""))
        if target.kind.namespaced:
            self.objects.get(Key("namespaces", "", target.namespace))
        if target.kind.resource == "secrets":
            _fold_string_data(body)
        elif target.kind.resource == "certificatesigningrequests":
            _stamp_request(body, user)
        elif target.kind.resource in ("nodes", "leases"):
            self._node_restriction(user, target, name, {}, body)
        return self.objects.create(Key(target.kind.resource, target.namespace, name), body)

    def _update(self, user: User, target: Target, present: Json, wanted: Json) -> Json:
        if target.subresource == "approval":
            self._may_approve(user, present)
        metadata = wanted.get("metadata", {})
        if target.subresource:
            # a subresource changes the status alone; the metadata serves as the precondition
            wanted = {
                **present,
                "status": wanted.get("status", {}),
                "metadata": {
                    **present["metadata"],
                    **{k: metadata[k] for k in ("uid", "resourceVersion") if k in metadata},
                },
            }
        elif target.kind.subresources:
            wanted = {**wanted, "status": present.get("status", {})}
        if target.kind.resource in ("nodes", "leases"):
            self._node_restriction(user, target, target.name, present, wanted)
        return self.objects.replace(target.key, wanted)

    def _node_restriction(self, user: User, target: Target, name: str, present: Json, wanted: Json) -> None:
        if NODE_GROUP not in user.groups:
            return
        own = user.name.removeprefix(NODE_PREFIX)
        if name != own:
            raise status.forbidden(
                f'{target.kind.resource} "{name}" is forbidden: node "{own}" is not allowed to modify '
                f'node "{name}"'
            )
        old = present.get("metadata", {}).get("labels") or {}
        labels = wanted.get("metadata", {}).get("labels") or {}
        refused = sorted(k for k in labels if old.get(k) != labels[k] and not label_allowed(k))
        if refused:
            raise status.forbidden(
                f'nodes "{name}" is forbidden: is not allowed to modify labels: {", ".join(refused)}'
            )

    def _may_approve(self, user: User, csr: Json) -> None:
        name = csr["spec"]["signerName"]
        questions = [
            Question("approve", CERTIFICATES, "signers", "", n) for n in (name, name.partition("/")[0] + "/*")
        ]
        if not any(self.authorizer.allows(user, q) for q in questions):
            raise status.forbidden(
                f'certificatesigningrequests.{CERTIFICATES} "{csr["metadata"]["name"]}" is forbidden: user '
                f'not permitted to approve requests with signerName "{name}"'
            )

    def _review(self, user: User, body: Json) -> Json:
        asked = body["spec"].get("resourceAttributes") or {}
        resource = asked.get("resource", "") + (
            f"/{asked['subresource']}" if asked.get("subresource") else ""
        )
        question = Question(
            asked.get("verb", ""),
            asked.get("group", ""),
            resource,
            asked.get("namespace", ""),
            asked.get("name", ""),
        )
        return {
            **body,
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "status": {"allowed": self.authorizer.allows(user, question)},
        }

    def _cluster_info(self, user: User) -> Json:
        if user is ANONYMOUS and self.settings.expire_before_use:
            self._expire_tokens()
            info = self.objects.get(CLUSTER_INFO)
            info["data"] = {k: v for k, v in info["data"].items() if not k.startswith(JWS_PREFIX)}
            return info
        info = self.objects.get(CLUSTER_INFO)
        wrong = ["wrong", "wrong-for-nodes"] if user is ANONYMOUS else ["wrong"]
        corrupt = ["corrupt", "corrupt-for-nodes"] if user is ANONYMOUS else ["corrupt"]
        if self.settings.cluster_info_ca not in wrong and self.settings.jws not in corrupt:
            return info
        data, content = info["data"], info["data"]["kubeconfig"]
        if self.settings.cluster_info_ca in wrong:
            content = pki.cluster_info_kubeconfig(self.server, self._wrong.certificate)
        signed = [t for t in tokens(self.objects) if JWS_PREFIX + t.id in data]
        if self.settings.jws in corrupt:
            signed = [dataclasses.replace(t, secret="x" * 16) for t in signed]
        info["data"] = {"kubeconfig": content, **signatures(content, signed)}
        return info

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        query = request.query
        version = int(query.get("resourceVersion") or self.objects.version)
        until = asyncio.get_running_loop().time() + float(query.get("timeoutSeconds") or 1800)
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        only = target.name or query.get("fieldSelector", "").partition("metadata.name=")[2]
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Date": formatdate(self.objects.now(), usegmt=True)}
        )
        await response.prepare(request)
        while not self.settings.down:
            left = until - asyncio.get_running_loop().time()
            try:
                events = list(self.objects.since(version, target.kind.resource, target.namespace))
            except ApiError as error:
                await response.write(_line("ERROR", error.body()))
                break
            for event in events:
                if not only or event.key.name == only:
                    await response.write(_line(event.type, event.object))
            version = self.objects.version
            if left <= 0:
                break
            await self.objects.changed(min(left, 5.0))
            if bookmarks and version == self.objects.version:
                await response.write(
                    _line(
                        "BOOKMARK",
                        {
                            "kind": target.kind.kind,
                            "apiVersion": target.kind.api_version,
                            "metadata": {"resourceVersion": str(version)},
                        },
                    )
                )
        await response.write_eof()
        return response

    # What tests do beside the API (control.py)

    async def _control(self) -> None:
        application = web.Application()
        application.router.add_post("/", self._control_request)
        self._runners.append(web.AppRunner(application, access_log=None, handle_signals=False))
        await self._runners[1].setup()
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:  # through /proc, for the path of a Unix socket is limited to 108 octets
            (self.directory / "control.sock").unlink(missing_ok=True)
            await web.UnixSite(self._runners[1], f"/proc/self/fd/{descriptor}/control.sock").start()
        finally:
            os.close(descriptor)

    async def _control_request(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            return web.json_response(await self.control(**body))
        except ApiError as error:
            return web.json_response(error.body(), status=error.code)

    async def control(self, op: str, **arguments: Any) -> Any:
        """One operation of a test; see control.py for what there is."""
        operation = getattr(self, f"_op_{op}")
        return await operation(**arguments)

    async def _op_settings(self, **changes: Any) -> Json:
        for name, value in changes.items():
            if name not in {f.name for f in dataclasses.fields(Settings)}:
                raise status.bad_request(f"no setting {name}")
            setattr(self.settings, name, tuple(value) if isinstance(value, list) else value)
        if "down" in changes:
            await self._set_down(changes["down"])
        return dataclasses.asdict(self.settings)

    async def _set_down(self, down: bool) -> None:
        if down and self._site:
            await self._site.stop()
            self._site = None
        elif not down and self._site is None:
            await self._listen(self.port)

    async def _op_objects(self, resource: str, namespace: str = "") -> list[Json]:
        return self.objects.list(resource, namespace)

    async def _op_requests(self) -> list[Json]:
        return list(self.requests)

    async def _op_create(self, resource: str, name: str, body: Json, namespace: str = "") -> Json:
        return self.objects.create(Key(resource, namespace, name), body)

    async def _op_merge(self, resource: str, name: str, patch: Json, namespace: str = "") -> Json:
        key = Key(resource, namespace, name)
        return self.objects.replace(key, patches.merge(self.objects.get(key), patch, strategic=True))

    async def _op_delete(self, resource: str, name: str, namespace: str = "") -> Json:
        return self.objects.delete(Key(resource, namespace, name))

    async def _op_expire_tokens(self) -> int:
        return self._expire_tokens()

    def _expire_tokens(self) -> int:
        past = pki.b64(stamp(self.objects.now() - 60).encode())
        expired = tokens(self.objects)
        for token in expired:
            key = Key("secrets", "kube-system", f"bootstrap-token-{token.id}")
            secret = self.objects.get(key)
            secret["data"]["expiration"] = past
            self.objects.replace(key, secret)
        return len(expired)

    async def _op_forget_history(self) -> int:
        self.objects.forget_history()
        return self.objects.version

    async def _op_living_node(
        self, name: str, every: float = 10.0, system_uuid: str = "", boot_id: str = "b"
    ) -> Json:
        """A Node that is Ready and whose Lease somebody renews: another machine under that name."""
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "",
            "lastTransitionTime": stamp(self.objects.now()),
        }
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"labels": {}},
            "spec": {},
            "status": {"conditions": [condition], "nodeInfo": {"bootID": boot_id, "systemUUID": system_uuid}},
        }
        made = self.objects.create(Key("nodes", "", name), body)
        key = Key("leases", "kube-node-lease", name)
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": 40,
                "renewTime": _micro(self.objects.now()),
            },
        }
        self.objects.create(key, lease)
        self._living[name] = asyncio.get_running_loop().create_task(self._renew(key, every))
        return made

    async def _renew(self, key: Key, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            lease = self.objects.get(key)
            lease["spec"]["renewTime"] = _micro(self.objects.now())
            self.objects.replace(key, lease)

    async def _op_dead_node(self, name: str) -> bool:
        """Nobody renews that Lease any more; the Node object stays as it is."""
        task = self._living.pop(name, None)
        if task:
            task.cancel()
        return task is not None


def _appliance_token(directory: Path) -> str:
    path = directory / "appliance.token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"standin-{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _micro(seconds: float) -> str:
    return stamp(seconds).removesuffix("Z") + f".{int(seconds % 1 * 1e6):06d}Z"


def _version(text: str) -> Json:
    major, minor = text.removeprefix("v").split(".")[:2]
    return {"major": major, "minor": minor, "gitVersion": text, "platform": "linux/amd64"}


def _line(kind: str, body: Json) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


async def _body(request: web.Request) -> Any:
    if not request.can_read_body:
        return None
    try:
        return await request.json()
    except ValueError as error:
        raise status.bad_request(f"the object provided is unrecognized: {error}") from None


def _fold_string_data(secret: Json) -> None:
    data = secret.setdefault("data", {})
    for name, value in secret.pop("stringData", {}).items():
        data[name] = pki.b64(str(value).encode())
    for value in data.values():
        base64.b64decode(str(value), validate=True)
    secret.setdefault("type", "Opaque")


def _stamp_request(csr: Json, user: User) -> None:
    spec = csr["spec"]
    if not spec.get("usages"):
        raise status.invalid(
            "CertificateSigningRequest", csr["metadata"].get("name", ""), "spec.usages: Required value"
        )
    pki.subject_of(base64.b64decode(spec["request"]))
    spec.update(username=user.name, groups=list(user.groups))
    csr["status"] = {}


def label_allowed(key: str) -> bool:
    """Whether the NodeRestriction admission lets a kubelet set this label on its own Node."""
    domain = key.rpartition("/")[0]
    if domain == "node-restriction.kubernetes.io" or domain.endswith(".node-restriction.kubernetes.io"):
        return False
    if not any(domain == d or domain.endswith("." + d) for d in ("kubernetes.io", "k8s.io")):
        return True
    free = ("kubelet.kubernetes.io", "node.kubernetes.io")
    return key in ALLOWED_LABELS or any(domain == d or domain.endswith("." + d) for d in free)


@asynccontextmanager
async def running(directory: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[ApiServer]:
    """A cluster inside this process and loop, for fast tests."""
    server = ApiServer(directory)
    await server.start(host, port)
    try:
        yield server
    finally:
        await server.stop()


async def _main(arguments: argparse.Namespace) -> None:
    host, _, port = arguments.listen.rpartition(":")
    arguments.dir.mkdir(parents=True, exist_ok=True)
    (arguments.dir / "ready").unlink(missing_ok=True)
    server = ApiServer(arguments.dir, arguments.version)
    await server.start(host.strip("[]"), int(port), arguments.advertise)
    print(f"Kubernetes API stand-in at {server.server}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests.kube.apiserver", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDR:PORT", help="port 0 takes a free one")
    parser.add_argument("--dir", required=True, type=Path)
    parser.add_argument(
        "--advertise", metavar="ADDR", help="address that kubeconfig files name; default: ADDR"
    )
    parser.add_argument("--version", default="v1.34.2")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
