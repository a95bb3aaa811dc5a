"""The HTTP side of the stand-in, and its command line.

    python -m tests.kube.apiserver --listen 127.0.0.1:6443 --dir DIR

writes DIR/{ca.crt,ca.key,admin.kubeconfig,appliance.kubeconfig}, then DIR/ready once it answers, and
listens for tests on the Unix socket DIR/control.sock (see control.py). It knows nobody but the holders
of those two kubeconfigs, bootstrap tokens and certificates of its own authority.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
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

import yaml
from aiohttp import web

from tests.kube import pki, status
from tests.kube.access import Authorizer, Question
from tests.kube.accounts import ANONYMOUS, APPLIANCE, Accounts
from tests.kube.backstage import Backstage, expire_tokens
from tests.kube.bootstrap import BearerCache, User, tokens
from tests.kube.controllers import CLUSTER_INFO, JWS_PREFIX, Controllers, Settings, signatures
from tests.kube.kinds import BY_KIND, Target, target_of, verb_of
from tests.kube.objects import Key, Objects
from tests.kube.pods import Pods
from tests.kube.policies import Policies
from tests.kube.selecting import named_by
from tests.kube.status import ApiError, Json
from tests.kube.verbs import APPLY, Verbs
from tests.kube.watching import Watch

MANIFESTS = Path(__file__).resolve().parents[2] / "config" / "kubernetes"
"""What an operator applies; the stand-in's cluster starts with all of it."""

BAD = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading an object that is none of its kind raises."""


class ApiServer:
    """One cluster. `start`, then `stop`; or the `running` context manager below."""

    def __init__(self, directory: Path, version: str = "v1.34.2") -> None:
        self.directory = directory
        self.version = version
        self.settings = Settings()
        self.objects = Objects(now=lambda: time.time() + self.settings.clock_skew)
        self.authority = pki.authority_in(directory)
        self.authorizer = Authorizer()
        self.bearers = BearerCache(self.objects)
        self.service_accounts = {_appliance_token(directory): APPLIANCE}
        self.accounts = Accounts(self.objects, self.bearers, self.service_accounts)
        pods = Pods(self.objects, self.settings)
        self.verbs = Verbs(self.objects, self.authorizer, self.accounts, pods, Policies(self.objects))
        self.backstage = Backstage(self)
        self.requests: deque[Json] = deque(maxlen=20_000)
        self.port = 0
        self._wrong = pki.Authority("kubernetes")
        self._count = 0
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
        runner = web.AppRunner(application, access_log=None, handle_signals=False, handler_cancellation=True)
        self._runners.append(runner)  # a watch ends with its reader
        await self._runners[0].setup()
        await self._listen(port)
        self.server = f"https://{_bracketed(advertise or host)}:{self.port}"
        self._write_kubeconfigs()
        self._fill()
        for manifest in sorted(MANIFESTS.glob("*.yaml")):
            self.apply(manifest)
        self._runners.append(await self.backstage.serve(self.directory))
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

    async def set_down(self, down: bool) -> None:
        """Listen no more, or again."""
        if down and self._site:
            await self._site.stop()
            self._site = None
        elif not down and self._site is None:
            await self._listen(self.port)

    async def stop(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.backstage.stop()
        for runner in self._runners:
            await runner.cleanup()

    async def control(self, op: str, **arguments: Any) -> Any:
        """One operation of a test; see control.py for what there is."""
        return await self.backstage.do(op, **arguments)

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
            account = {"apiVersion": "v1", "kind": "ServiceAccount"}
            self.objects.create(Key("serviceaccounts", name, "default"), account)
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

    def apply(self, manifest: Path) -> None:
        """What `kubectl apply` does with a manifest file (several YAML documents)."""
        for body in filter(None, yaml.safe_load_all(manifest.read_text())):
            kind, metadata = BY_KIND[body["apiVersion"], body["kind"]], body["metadata"]
            namespace = metadata.get("namespace", "default") if kind.namespaced else ""
            key = Key(kind.resource, namespace, metadata["name"])
            if self.objects.find(key) is None:
                self.objects.create(key, body)
            else:
                self.objects.replace(key, body)
        self.verbs.follow_rbac()

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        user = ANONYMOUS
        try:
            await self._faults(request)
            user = self._user(request)
            response = await self._answer(request, user)
        except ApiError as error:
            response = web.json_response(error.body(), status=error.code, headers=error.headers())
        except BAD as error:
            response = web.json_response(
                status.bad_request(f"{type(error).__name__}: {error}").body(), status=400
            )
        except _Throttled as error:
            headers = {"Retry-After": str(error.args[0])}
            text = "Too many requests, please try again later.\n"  # plain text, as the real one's
            response = web.Response(status=429, text=text, headers=headers)
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
        if self.settings.throttle:
            raise _Throttled(self.settings.throttle)
        self._count += 1
        flaky = self.settings.flaky and self._count.bit_count() % 2
        if self.settings.failing or flaky or (self.settings.half_500 and self._count % 2):
            raise status.internal("etcdserver: request timed out")

    def _user(self, request: web.Request) -> User:
        self.bearers.life = self.settings.token_life
        user = self.accounts.user(
            request.headers.get("Authorization", ""), request.get_extra_info("peercert")
        )
        if self.settings.credentials_expired and user.name.startswith("system:serviceaccount:"):
            raise status.unauthorized()
        return user

    async def _answer(self, request: web.Request, user: User) -> web.StreamResponse:
        path = request.path
        if path in ("/version", "/healthz", "/readyz", "/livez"):
            self._authorize(user, Question("get", "", "", path=path))
            return (
                web.json_response(_version(self.version)) if path == "/version" else web.Response(text="ok")
            )
        target = target_of(path)
        verb = verb_of(request.method, request.query.get("watch"), target)
        name = target.name or (named_by(request.query) if verb in ("list", "watch") else "")
        self._authorize(user, Question(verb, target.kind.group, target.resource, target.namespace, name))
        if verb == "watch":
            return await Watch(self.objects, self.settings, target, request.query).serve(request)
        code, made = self._operate(request, user, target, verb, await _body(request))
        return web.json_response(made, status=code)

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

    def _operate(
        self, request: web.Request, user: User, target: Target, verb: str, body: Any
    ) -> tuple[int, Json]:
        if verb == "get":
            return 200, (
                self._cluster_info(user) if target.key == CLUSTER_INFO else self.objects.get(target.key)
            )
        if verb == "list":
            return 200, self.verbs.list(target, request.query)
        if verb == "delete":
            return 200, self.verbs.delete(user, target, body or {})
        if verb == "create":
            return 201, self.verbs.create(user, target, body, dry_run=request.query.get("dryRun") == "All")
        if verb == "update":
            return 200, self.verbs.update(user, target, body)
        if request.content_type == APPLY:
            made, new = self.verbs.apply(user, target, request.query.get("fieldManager", ""), body)
            return (201 if new else 200), made
        return 200, self.verbs.patch(user, target, request.headers.get("Content-Type", ""), body)

    def _cluster_info(self, user: User) -> Json:
        if user is ANONYMOUS and self.settings.expire_before_use:
            expire_tokens(self.objects)
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


class _Throttled(Exception):
    """The server has too much to do; the seconds after which it wants to be asked again."""


def _appliance_token(directory: Path) -> str:
    path = directory / "appliance.token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"standin-{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _version(text: str) -> Json:
    major, minor = text.removeprefix("v").split(".")[:2]
    return {"major": major, "minor": minor, "gitVersion": text, "platform": "linux/amd64"}


async def _body(request: web.Request) -> Any:
    if not request.can_read_body:
        return None
    try:
        if request.content_type == APPLY:
            return yaml.safe_load(await request.text())
        return await request.json()
    except (ValueError, yaml.YAMLError) as error:
        raise status.bad_request(f"the object provided is unrecognized: {error}") from None


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
