"""`scripts/chaos boots`: cut the power of booting machines at random moments; every one joins in the end.

Micro nodes in virtual machines, two at a time, with the real daemon and the API stand-in. Each round a node
is switched on, loses its power after a random share of a boot's CPU time (wall time says little on a busy
host), sometimes twice, and is switched on again at once. It then has to join: under the same name and
address, once, and no credential of the boots that were cut may be left.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from netboot import __version__
from tests.lab import images
from tests.lab.appliance import describe
from tests.lab.machine import Machine, MachineFailed
from tests.lab.namespace import wait_until
from tests.lab.site import KUBE, Site, running_site, scratch, write_yaml

AT_ONCE = 2
BOOT_CPU = 13.0
"""CPU seconds of QEMU within which a cut may fall: a micro node's way to its join takes some 11 to 13."""
JOIN_LIMIT = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One round: after how many CPU seconds each of its cuts comes."""

    number: int
    cuts: tuple[float, ...]


@dataclass(slots=True)
class Round:
    """What became of it."""

    plan: Plan
    reached: list[str] = field(default_factory=list)
    """The last step of each boot that was cut."""
    seconds: float = 0.0
    """From the last power-on to joined."""
    wrong: list[str] = field(default_factory=list)


def plans(times: int, seed: int) -> list[Plan]:
    """The rounds of a seed."""
    rng = random.Random(seed)
    return [
        Plan(n, tuple(rng.uniform(0.3, BOOT_CPU) for _ in range(rng.choice((1, 1, 1, 2)))))
        for n in range(times)
    ]


def chaos(times: int, seed: int, *, done: Callable[[Round], None] = lambda _: None) -> list[Round]:
    """Run the rounds of a seed; `done` is called with each as it ends."""
    todo, lock, rounds = plans(times, seed), threading.Lock(), []

    def work(index: int, site: Site) -> None:
        machine = Machine(site.lab, [mac_of(index)], directory=site.directory, name=f"n{index}")
        with machine:
            while True:
                with lock:
                    plan = todo.pop(0) if todo else None
                if plan is None:
                    return
                one = _round(site, machine, index, plan)
                with lock:
                    rounds.append(one)
                    done(one)

    with scratch() as directory:
        images.build(directory / "images", micro=True)
        with running_site(directory, config) as site, ThreadPoolExecutor(AT_ONCE) as pool:
            for each in [pool.submit(work, index, site) for index in range(AT_ONCE)]:
                each.result()
    return sorted(rounds, key=lambda one: one.plan.number)


def mac_of(index: int) -> str:
    """The card of a machine."""
    return f"52:54:00:77:0d:{index + 1:02x}"


def address_of(index: int) -> str:
    """Its declared address."""
    return f"10.77.0.{31 + index}"


def config(directory: Path, kubeconfig: Path) -> list[Path]:
    """The operator's file."""
    join = {"method": "kubeadm", "kubeconfig": str(kubeconfig), "bind": "cluster"}
    nodes = [{"name": f"n{i}", "macs": [mac_of(i)], "address": address_of(i)} for i in range(AT_ONCE)]
    content = {
        "server": {"data_dir": str(directory / "data"), "images_dir": str(directory / "images")},
        "networks": [{"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0"}],
        "clusters": [{"name": "blue", "endpoint": KUBE, "image": "micro", "join": join}],
        "pools": [{"name": "all", "cluster": "blue", "network": "lab", "nodes": nodes}],
        "tags": {"all": {"kernel_parameters": ["console=ttyS0,115200n8"]}},
    }
    return [write_yaml(directory / "netboot.yaml", content)]


def _round(site: Site, machine: Machine, index: int, plan: Plan) -> Round:
    one, mac = Round(plan), mac_of(index)
    for cpu in plan.cuts:
        machine.power_on()
        _burn(machine, cpu)
        machine.power_off()
        one.reached.append(_reached(site.appliance.boot(mac)))
    before = {boot["id"] for boot in site.appliance.boots(mac)}
    machine.power_on()
    began = time.monotonic()
    try:
        boot: Any = machine.wait_until(
            f"n{index} joined", lambda: _joined(site, mac, before), JOIN_LIMIT, every=0.5
        )
        one.seconds = time.monotonic() - began
        one.wrong += _wrong(site, index, boot)
    except MachineFailed as error:
        one.wrong.append(f"{error}\n{describe(site.appliance.boot(mac))}")
    machine.power_off()
    return one


def _burn(machine: Machine, cpu: float) -> None:
    """Wait until the machine has used so much CPU time, or is through."""
    until = time.monotonic() + JOIN_LIMIT
    while machine.cpu_seconds < cpu and time.monotonic() < until and machine.dead() is None:
        time.sleep(0.02)


def _reached(boot: dict[str, Any] | None) -> str:
    if boot is None:
        return "before DHCP"
    return "joined" if boot["state"] == "joined" else str(boot["steps"][-1]["step"])


def _joined(site: Site, mac: str, before: set[str]) -> dict[str, Any] | None:
    """The joined boot of the last power-on: a new one, or one that was hardly begun when the power went."""
    boot = site.appliance.boot(mac)
    fresh = boot is not None and (boot["id"] not in before or boot["state"] == "joined")
    return boot if fresh and boot is not None and boot["state"] == "joined" else None


def _wrong(site: Site, index: int, boot: dict[str, Any]) -> list[str]:
    """What should not be: another name or address, a second Node object, a credential of an earlier boot."""
    name, wrong = f"n{index}", []
    if boot["node"] != name:
        wrong.append(f"joined as {boot['node']}")
    leases = [lease["address"] for lease in site.appliance.items("/api/v1/leases") if lease["name"] == name]
    if leases != [address_of(index)]:
        wrong.append(f"{name} has the addresses {leases}")
    node = site.node(name)
    if (
        node is None
        or {"type": "InternalIP", "address": address_of(index)} not in node["status"]["addresses"]
    ):
        wrong.append(f"no Node object {name} at {address_of(index)}")
    try:
        wait_until("no token is left", lambda: not _tokens(site, name), 30, every=0.5)
    except TimeoutError:
        wrong.append(f"tokens of {name} are left: {_tokens(site, name)}")
    return wrong


def _tokens(site: Site, node: str) -> list[str]:
    """Bootstrap tokens that were made for this node and live."""
    secrets = site.kube.control("objects", resource="secrets")
    return [
        str(secret["metadata"]["name"])
        for secret in secrets
        if str(secret["metadata"]["name"]).startswith("bootstrap-token-") and node in str(secret)
    ]


def table(rounds: Sequence[Round], asked: str, seconds: float) -> Table:
    """What happened, for docs/reliability.md."""
    made = Table(title=f"scripts/chaos boots {asked}")
    made.add_column("what")
    made.add_column("figure", justify="right")
    cuts = Counter(step for one in rounds for step in one.reached)
    joined = [one.seconds for one in rounds if one.seconds]
    rows = {
        "version, date": f"{__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        "rounds": str(len(rounds)),
        "power cuts": str(sum(cuts.values())),
        **{f"  last step seen: {step}": str(count) for step, count in cuts.most_common()},
        "ended joined, as they should": str(len([one for one in rounds if not one.wrong])),
        "did not": str(len([one for one in rounds if one.wrong])),
        "seconds from power-on to joined: median, longest": (
            f"{statistics.median(joined):.0f}, {max(joined):.0f}" if joined else "–"
        ),
        "time": f"{seconds:.0f} s",
    }
    for what, figure in rows.items():
        made.add_row(what, figure)
    return made


def register(kinds: Any) -> None:
    """The words of the command line."""
    parser = kinds.add_parser("boots", help=__doc__.splitlines()[0], description=__doc__)
    parser.add_argument("--times", type=int, default=5, metavar="N", help="rounds (default: 5)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the moments of the cuts")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    console, began = Console(), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("boots", total=args.times)

        def done(one: Round) -> None:
            progress.advance(task)
            for text in one.wrong:
                console.print(
                    f"round {one.plan.number}, cut at {', '.join(one.reached)}: {text}", markup=False
                )

        rounds = chaos(args.times, args.seed, done=done)
    console.print(table(rounds, f"--times {args.times} --seed {args.seed}", time.monotonic() - began))
    return 1 if any(one.wrong for one in rounds) else 0
