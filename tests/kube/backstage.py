"""What tests do beside the API: change how the cluster behaves, look inside, let machines live and die."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.kube import patches, pki, status
from tests.kube.bootstrap import tokens
from tests.kube.controllers import Settings
from tests.kube.objects import Key, Objects, stamp
from tests.kube.status import ApiError, Json

if TYPE_CHECKING:
    from tests.kube.apiserver import ApiServer


class Backstage:
    """The operations of control.py on one cluster; each `op_NAME` is one."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._objects = server.objects
        self._living: dict[str, asyncio.Task[None]] = {}

    async def serve(self, directory: Path) -> web.AppRunner:
        """Listen on DIRECTORY/control.sock."""
        application = web.Application()
        application.router.add_post("/", self._request)
        runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await runner.setup()
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:  # through /proc, for the path of a Unix socket is limited to 108 octets
            (directory / "control.sock").unlink(missing_ok=True)
            await web.UnixSite(runner, f"/proc/self/fd/{descriptor}/control.sock").start()
        finally:
            os.close(descriptor)
        return runner

    async def _request(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            return web.json_response(await self.do(**body))
        except ApiError as error:
            return web.json_response(error.body(), status=error.code)

    async def do(self, op: str, **arguments: Any) -> Any:
        """One operation."""
        operation: Callable[..., Awaitable[Any]] = getattr(self, f"op_{op}")
        return await operation(**arguments)

    async def stop(self) -> None:
        """Nobody lives any more."""
        for task in self._living.values():
            task.cancel()
        await asyncio.gather(*self._living.values(), return_exceptions=True)

    async def op_settings(self, **changes: Any) -> Json:
        """Change settings; shows all of them."""
        settings = self._server.settings
        for name, value in changes.items():
            if name not in {f.name for f in dataclasses.fields(Settings)}:
                raise status.bad_request(f"no setting {name}")
            setattr(settings, name, tuple(value) if isinstance(value, list) else value)
        if "down" in changes:
            await self._server.set_down(changes["down"])
        return dataclasses.asdict(settings)

    async def op_objects(self, resource: str, namespace: str = "") -> list[Json]:
        """All objects of a resource."""
        return self._objects.list(resource, namespace)

    async def op_requests(self) -> list[Json]:
        """What was asked, by whom, with which answer."""
        return list(self._server.requests)

    async def op_create(self, resource: str, name: str, body: Json, namespace: str = "") -> Json:
        """Put an object there."""
        return self._objects.create(Key(resource, namespace, name), body)

    async def op_merge(self, resource: str, name: str, patch: Json, namespace: str = "") -> Json:
        """Change an object."""
        key = Key(resource, namespace, name)
        return self._objects.replace(key, patches.merge(self._objects.get(key), patch, strategic=True))

    async def op_delete(self, resource: str, name: str, namespace: str = "") -> Json:
        """Take an object away."""
        return self._objects.delete(Key(resource, namespace, name))

    async def op_expire_tokens(self) -> int:
        """Every bootstrap token is expired."""
        return expire_tokens(self._objects)

    async def op_forget_history(self) -> int:
        """As after a compaction: every older watch and every list in pages is told 410."""
        self._objects.forget_history()
        self._server.verbs.pages.forget()
        return self._objects.version

    async def op_living_node(
        self, name: str, every: float = 10.0, system_uuid: str = "", boot_id: str = "b"
    ) -> Json:
        """A Node that is Ready and whose Lease somebody renews: another machine under that name."""
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "",
            "lastTransitionTime": stamp(self._objects.now()),
        }
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"labels": {}},
            "spec": {},
            "status": {"conditions": [condition], "nodeInfo": {"bootID": boot_id, "systemUUID": system_uuid}},
        }
        made = self._objects.create(Key("nodes", "", name), body)
        key = Key("leases", "kube-node-lease", name)
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _micro(self._objects.now())}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {}, "spec": spec}
        self._objects.create(key, lease)
        self._living[name] = asyncio.get_running_loop().create_task(self._renew(key, every))
        return made

    async def _renew(self, key: Key, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            lease = self._objects.get(key)
            lease["spec"]["renewTime"] = _micro(self._objects.now())
            self._objects.replace(key, lease)

    async def op_dead_node(self, name: str) -> bool:
        """Nobody renews that Lease any more; the Node object stays as it is."""
        task = self._living.pop(name, None)
        if task:
            task.cancel()
        return task is not None


def expire_tokens(objects: Objects) -> int:
    """Set the expiration of every bootstrap token to a minute ago; how many there were."""
    past = pki.b64(stamp(objects.now() - 60).encode())
    expired = tokens(objects)
    for token in expired:
        key = Key("secrets", "kube-system", f"bootstrap-token-{token.id}")
        secret = objects.get(key)
        secret["data"]["expiration"] = past
        objects.replace(key, secret)
    return len(expired)


def _micro(seconds: float) -> str:
    return stamp(seconds).removesuffix("Z") + f".{int(seconds % 1 * 1e6):06d}Z"
