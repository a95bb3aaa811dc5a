"""`netboot serve` in the lab's namespace, started as root as an operator would, and its API."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.namespace import Lab, wait_until

ROOT = Path(__file__).resolve().parents[2]
API = ("127.0.0.1", 8443)
START_LIMIT = 60.0


class Appliance:
    """The daemon on these files; `directory` gets its log, `data_dir` must be what the files name."""

    def __init__(self, lab: Lab, configs: Sequence[Path], directory: Path, data_dir: Path) -> None:
        self.lab = lab
        self.configs = tuple(configs)
        self.data_dir = data_dir
        self.log_path = directory / "appliance.log"
        self._imports = directory / "late-imports"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Appliance:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # The process

    @property
    def config_arguments(self) -> list[str]:
        """`--config FILE` for each of its files."""
        return [word for path in self.configs for word in ("--config", str(path))]

    @property
    def command(self) -> list[str]:
        """What is started in the namespace."""
        return [sys.executable, "-m", "netboot", "serve", *self.config_arguments]

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        with self.log_path.open("ab") as log:
            self._process = self.lab.start(
                self.command, stdout=log, cwd=ROOT, env=self._environment(), ends_with_us=False
            )
        try:
            wait_until("the appliance is ready", self._ready, START_LIMIT)
        except (TimeoutError, RuntimeError) as error:
            raise RuntimeError(f"{error}\n{self.log()[-4000:]}") from None

    def _environment(self) -> dict[str, str]:
        watch = {"NETBOOT_LATE_IMPORTS": str(self._imports)}
        return {**environment(), **watch, "PYTHONPATH": f"{ROOT / 'tests/lab/watch'}{os.pathsep}{ROOT}"}

    def late_imports(self) -> set[str]:
        """What it imported after it had dropped root: nothing, where its folder is open to root alone."""
        return set(self._imports.read_text().split()) if self._imports.exists() else set()

    def _ready(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise RuntimeError(f"netboot serve ended with status {self._process.returncode}")
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """Process id of control."""
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL control alone, as a crash would; its helpers are its own affair."""
        assert self._process
        self._process.kill()
        self._process.wait(20)
        self._process = None

    def stop(self, timeout: float = 20.0) -> int | None:
        """Ask it to end (SIGTERM); its exit status, None where it was not running."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait(20)
        self._process = None
        return status

    def log(self) -> str:
        """What it logged, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # The API

    def token(self) -> str:
        """The administrator's token that the first start made."""
        return (self.data_dir / "admin.token").read_text().strip()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """One request to the API listener: status and body."""
        connection = http.client.HTTPConnection(*API, timeout=15)
        connection.sock = self.lab.connect(*API)
        headers = {"Host": f"{API[0]}:{API[1]}", **(headers or {})}
        if token and (self.data_dir / "admin.token").exists():
            headers["Authorization"] = f"Bearer {self.token()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise OSError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """A document of the API."""
        status, text = self.request("GET", path, headers={"Accept": "application/json"})
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {text[:500]}")
        return json.loads(text)

    def boots(self, mac: str | None = None) -> list[dict[str, Any]]:
        """The boots that it remembers, newest first."""
        return self.items("/api/v1/boots" + (f"?mac={urllib.parse.quote(mac)}" if mac else ""))

    def items(self, path: str) -> list[dict[str, Any]]:
        """The items of a list of the API."""
        return list(self.get(path)["items"])

    def boot(self, mac: str) -> dict[str, Any] | None:
        """The newest boot of a machine."""
        found = self.boots(mac)
        return found[0] if found else None

    def netboot(self, *arguments: str, check: bool = True, timeout: float = 60.0) -> str:
        """The output of `netboot ARGUMENTS`, run in the namespace with our configuration."""
        command = [sys.executable, "-m", "netboot", *arguments, *self.config_arguments]
        done = subprocess.run(
            [*self.lab.prefix, *command], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    # Its processes

    def helpers(self, kind: str) -> list[int]:
        """Process ids of its helpers of one kind: bulk, tftp, forker."""
        return [pid for pid in self.lab.pids() if process_name(pid) == f"netboot-{kind}"]

    def crash(self) -> None:
        """SIGKILL to all of it at once, as when its host loses a container."""
        for kind in ("forker", "bulk", "tftp"):
            for pid in self.helpers(kind):
                os.kill(pid, signal.SIGKILL)
        self.kill()


def process_name(pid: int) -> str:
    """What ps shows; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def environment() -> dict[str, str]:
    """Our environment, with this tree first on the path of Python."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def step(boot: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """The step of that name of a boot as the API tells it."""
    return next((s for s in (boot or {}).get("steps", ()) if s["step"] == name), None)


def share(boot: dict[str, Any] | None, name: str = "squashfs") -> float:
    """How much of a step's bytes are through, 0 to 1."""
    found = step(boot, name)
    return (found["bytes"] or 0) / found["of"] if found and found.get("of") else 0.0


def describe(boot: dict[str, Any] | None) -> str:
    """A boot in a few lines, for the message of a test that failed."""
    if boot is None:
        return "the appliance knows no boot of this machine"
    lines = [
        f"{boot['id']} of {boot['node']}: {boot['state']}, stopped at {boot['stopped_at']}: {boot['cause']}"
    ]
    for found in boot["steps"]:
        at = f"{found['at'] - boot['started']:7.1f} s"
        lines.append(
            f"  {at} {found['step']:14} {found.get('bytes') or ''}/{found.get('of') or ''} {found['detail']}"
        )
    return "\n".join(lines)
