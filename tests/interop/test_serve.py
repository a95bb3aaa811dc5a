"""`netboot serve` as an operator starts it: as root, on a real interface, in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.appliance import Appliance
from tests.lab.namespace import Lab, wait_until
from tests.lab.site import scratch, write_yaml

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
NET_BIND_SERVICE, NET_RAW = 1 << 10, 1 << 13


def content(directory: Path, **network: Any) -> dict[str, Any]:
    """A small operator's file; `network` overrides keys of its one network."""
    lab = {"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0", "range": "10.77.0.100-10.77.0.120"}
    return {
        "server": {"data_dir": str(directory / "data"), "images_dir": str(directory / "images")},
        "networks": [{**lab, **network}],
        "clusters": [{"name": "alone", "endpoint": "10.77.0.1:6443", "join": {"method": "none"}}],
        "pools": [{"name": "unknown", "cluster": "alone", "network": "lab", "catch_all": True}],
    }


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that the appliance's account may enter."""
    with scratch() as made:
        (made / "images").mkdir()
        yield made


@pytest.fixture
def appliance(lab: Lab, directory: Path) -> Iterator[Appliance]:
    """The daemon on the small file, ready."""
    config = write_yaml(directory / "netboot.yaml", content(directory))
    with Appliance(lab, [config], directory, directory / "data") as made:
        yield made


def serve(lab: Lab, config: Path) -> tuple[int, str]:
    """Exit status and output of a `serve` that is expected to refuse to start."""
    done = subprocess.run(
        [*lab.prefix, sys.executable, "-m", "netboot", "serve", "--config", str(config)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status as a mapping."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}


def test_control_is_not_root_and_keeps_two_capabilities(appliance: Appliance) -> None:
    """Once the sockets are bound, control is server.user with NET_BIND_SERVICE and NET_RAW alone."""
    status = status_of(appliance.pid)
    assert 0 not in {int(uid) for uid in status["Uid"].split()}
    assert int(status["CapEff"], 16) == NET_BIND_SERVICE | NET_RAW
    assert int(status["CapPrm"], 16) == NET_BIND_SERVICE | NET_RAW
    assert status["NoNewPrivs"] == "1"


def test_it_takes_all_the_descriptors_that_it_may(lab: Lab, directory: Path) -> None:
    """A soft limit of 1024 would be a thousand connections: control and helpers take the hard one."""
    config = write_yaml(directory / "netboot.yaml", content(directory))

    class Limited(Appliance):
        @property
        def command(self) -> list[str]:
            return ["prlimit", "--nofile=1024:8192", *super().command]

    with Limited(lab, [config], directory, directory / "data") as appliance:
        for pid in (appliance.pid, *appliance.helpers("bulk"), *appliance.helpers("tftp")):
            rows = Path(f"/proc/{pid}/limits").read_text().splitlines()
            assert next(row.split()[3] for row in rows if row.startswith("Max open files")) == "8192"


def test_what_it_remembers_is_its_own_alone(appliance: Appliance, directory: Path) -> None:
    """data_dir has mode 0700 and its secrets 0600, owned by the account that control runs as."""
    data = directory / "data"
    owner = int(status_of(appliance.pid)["Uid"].split()[0])
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for name in ("secret", "admin.token", "netboot.db"):
        facts = (data / name).stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o600, owner), name


def test_it_listens_on_the_interface_addresses_alone(appliance: Appliance, lab: Lab) -> None:
    """HTTP and TFTP are bound to the interface's address, never to the wildcard; the API to loopback."""
    listeners = {row.split()[3] for row in lab.run("ss", "-Htln").splitlines()}
    assert listeners == {"10.77.0.1:80", "127.0.0.1:8443"}
    assert "10.77.0.1:69" in {row.split()[3] for row in lab.run("ss", "-Huln").splitlines()}


def test_the_names_of_nodes_are_served_and_kept_in_a_file(lab: Lab, directory: Path) -> None:
    """By the daemon as it runs: readable for everybody in data_dir's stead, and over HTTP in the network."""
    changed = content(directory)
    names = directory / "names"
    names.mkdir()
    names.chmod(0o777)
    changed["server"]["hosts_file"] = str(names / "hosts")
    changed["pools"].append(
        {
            "name": "declared", "cluster": "alone", "network": "lab",
            "nodes": [{"name": "m1", "macs": ["52:54:00:12:34:56"], "address": "10.77.0.20"}],
        }
    )  # fmt: skip
    config = write_yaml(directory / "netboot.yaml", changed)
    with Appliance(lab, [config], directory, directory / "data"):
        shown = lab.run("curl", "-sS", "--max-time", "10", "http://10.77.0.1/hosts")
        assert shown.splitlines()[1:] == ["10.77.0.20 m1"]
        assert (names / "hosts").read_text() == shown
        assert stat.S_IMODE((names / "hosts").stat().st_mode) == 0o644


def test_a_check_beside_it_knows_its_ports(appliance: Appliance, directory: Path) -> None:
    """`check --here` refuses a new file only for what strangers have: a note says whose the ports are."""
    command = ["-m", "netboot", "check", "--here", "--config", str(directory / "netboot.yaml")]
    said = appliance.lab.run(sys.executable, *command)
    assert f"note: netboot serves with this data_dir already (pid {appliance.pid})" in said
    assert "error:" not in said and ": accepted, " in said


def test_a_stop_is_clean_and_the_ports_are_free_again(appliance: Appliance) -> None:
    """SIGTERM ends everything with status 0, and a new start on the same ports succeeds."""
    assert appliance.stop() == 0
    assert not [pid for pid in appliance.lab.pids() if "netboot" in command_line(pid)]
    appliance.start()


def command_line(pid: int) -> str:
    """What a process was started with; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def test_after_a_crash_it_starts_again_with_the_same_secret(appliance: Appliance, directory: Path) -> None:
    """SIGKILL of control: the next start binds all ports at once and derives the same boot keys."""
    secret = (directory / "data" / "secret").read_bytes()
    appliance.kill()
    appliance.start()
    assert (directory / "data" / "secret").read_bytes() == secret


def test_a_reload_that_is_refused_leaves_the_old_file_in_force(appliance: Appliance, directory: Path) -> None:
    """A broken file is reported in the log; a mended one comes into force without a restart."""
    path = directory / "netboot.yaml"
    good = path.read_text()
    path.write_text(good + "nonsense: true\n")
    os.kill(appliance.pid, signal.SIGHUP)
    wait_until("the refusal is logged", lambda: "is refused, the old one stays" in appliance.log(), 30)
    assert [pool["name"] for pool in appliance.get("/api/v1/pools")["items"]] == ["unknown"]
    path.write_text(good.replace("name: unknown", "name: renamed"))

    def renamed() -> bool:
        return [pool["name"] for pool in appliance.get("/api/v1/pools")["items"]] == ["renamed"]

    wait_until("the changed file is in force", renamed, 30)


class Closed(Appliance):
    """The daemon from below a folder that only root may enter, as a clone in root's home is."""

    @property
    def command(self) -> list[str]:
        """The same command, with the package and the working directory below the closed folder."""
        clone = self.log_path.parent / "closed" / "clone"
        return ["env", "-C", str(clone), f"PYTHONPATH={clone}", *super().command]


def test_a_reload_works_below_a_folder_that_only_root_may_enter(lab: Lab, directory: Path) -> None:
    """Once root is dropped, the child that reads the files must still find the program."""
    closed = directory / "closed"
    shutil.copytree(
        ROOT / "netboot", closed / "clone" / "netboot", ignore=shutil.ignore_patterns("__pycache__")
    )
    closed.chmod(0o700)
    path = write_yaml(directory / "netboot.yaml", content(directory))
    with Closed(lab, [path], directory, directory / "data") as appliance:
        path.write_text(path.read_text().replace("name: unknown", "name: renamed"))
        os.kill(appliance.pid, signal.SIGHUP)
        wait_until("the changed file is in force", lambda: "configuration is in force" in appliance.log(), 30)


@contextmanager
def held(lab: Lab, socket_of: str) -> Iterator[None]:
    """Another program that holds what the Python expression `socket_of` binds."""
    code = f"import socket, time; s = {socket_of}; print('up', flush=True); time.sleep(60)"
    holder = lab.start([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"up\n"
    try:
        yield
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdout.close()


def test_a_taken_port_is_named_with_its_remedy(lab: Lab, directory: Path) -> None:
    """Exit status 2, the port, and the command that shows who has it."""
    config = write_yaml(directory / "netboot.yaml", content(directory))
    with held(lab, "socket.create_server(('10.77.0.1', 80))"):
        status, said = serve(lab, config)
    assert status == 2
    assert "10.77.0.1" in said and "80" in said and "ss -tlnp sport = :80" in said


def test_a_second_dhcp_server_on_the_interface_stops_the_start(lab: Lab, directory: Path) -> None:
    """Two servers on one port would both answer: exit status 2, and the other one's name."""
    config = write_yaml(directory / "netboot.yaml", content(directory))
    bound = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 67))"
    with held(lab, bound):
        status, said = serve(lab, config)
    assert status == 2
    assert "UDP port 67" in said and "br0" in said and "python" in said


def test_a_missing_interface_is_named_with_those_that_exist(lab: Lab, directory: Path) -> None:
    """Exit status 2; the message names the interface and what is there instead."""
    config = write_yaml(directory / "netboot.yaml", content(directory, interface="eno9"))
    status, said = serve(lab, config)
    assert status == 2
    assert "eno9" in said and "br0" in said


def test_an_interface_without_address_in_the_subnet_is_refused(lab: Lab, directory: Path) -> None:
    """Nodes could not reach us: exit status 2, and the command that mends it."""
    foreign = {"subnet": "10.99.0.0/24", "range": "10.99.0.100-10.99.0.120"}
    config = write_yaml(directory / "netboot.yaml", content(directory, **foreign))
    status, said = serve(lab, config)
    assert status == 2
    assert "br0 has no address in 10.99.0.0/24" in said and "ip address add" in said


def test_a_broken_file_is_refused_with_all_its_problems(lab: Lab, directory: Path) -> None:
    """Exit status 2 and every problem, not only the first."""
    wrong = content(directory, lease="soon", mode="sideways")
    status, said = serve(lab, write_yaml(directory / "netboot.yaml", wrong))
    assert status == 2
    assert "lease" in said and "mode" in said


def test_a_damaged_database_is_said_and_kept(lab: Lab, directory: Path) -> None:
    """It does not start over with an empty memory behind the operator's back."""
    config = write_yaml(directory / "netboot.yaml", content(directory))
    with Appliance(lab, [config], directory, directory / "data") as first:
        first.stop()
    database = directory / "data" / "netboot.db"
    for log in directory.glob("data/netboot.db-*"):
        log.unlink()
    database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    status, said = serve(lab, config)
    assert status not in (0, None)
    assert "netboot.db" in said
    with pytest.raises(sqlite3.DatabaseError), sqlite3.connect(database) as connection:
        connection.execute("SELECT * FROM leases")


def test_it_is_ready_without_waiting_for_a_cluster(lab: Lab, directory: Path) -> None:
    """A kubeconfig that is missing makes its cluster unhealthy, not the daemon."""
    changed = content(directory)
    missing = directory / "missing.kubeconfig"
    changed["clusters"][0]["join"] = {"method": "kubeadm", "bind": "cluster", "kubeconfig": str(missing)}
    config = write_yaml(directory / "netboot.yaml", changed)
    with Appliance(lab, [config], directory, directory / "data") as made:
        began = time.monotonic()
        assert made.request("GET", "/readyz")[0] == 200
        assert time.monotonic() - began < 30
