"""`netboot check`: is the operator's file right? Prints every problem and warning; exit status 0 or 1."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers, add_config, config_paths
from netboot.config import Config, examine, here, holder, offered
from netboot.config.holder import Daemon


def register(verbs: Subparsers) -> None:
    """Add the verb `check`."""
    text = "validate the operator's file and print every problem"
    parser = verbs.add_parser("check", help=text, description=text)
    add_config(parser)
    parser.add_argument(
        "--here",
        action="store_true",
        help="look at this host too: interfaces, accounts, ports, folders, named files",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 where the file is refused."""
    paths = config_paths(args)
    found = examine(paths)
    problems = [*found.problems]
    warnings = [*found.seen.warnings]
    notes: list[str] = []
    (problems if args.here else warnings).extend([*found.absent, *here.missing_files(found.seen)])
    warnings += here.missing_images(found.seen)
    if args.here:
        running = holder.daemon(found.seen.server.data_dir)
        problems += here.problems(found.seen, running)
        problems += here.unusable(found.seen)
        warnings += [*here.warnings(found.seen), *offered.unreadable(found.seen)]
        notes += [note(running)] if running else []
    for problem in problems:
        print(f"error: {problem}")
    for warning in warnings:
        print(f"warning: {warning}")
    for each in notes:
        print(f"note: {each}")
    print(summary(paths, found.seen, len(problems), len(warnings)))
    return 1 if problems else 0


def note(running: Daemon) -> str:
    """What is said of the daemon that serves already."""
    said = f"netboot serves with this data_dir already (pid {running.pid})"
    return f"{said}; the ports that it has are its own and not taken"


def summary(paths: list[str], seen: Config, problems: int, warnings: int) -> str:
    """The last line: refused or accepted, and how much there is of what."""
    files = ", ".join(paths)
    if problems:
        return f"{files}: refused, {_count(problems, 'problem')}, {_count(warnings, 'warning')}"
    return f"{files}: accepted, {declared(seen)}, {_count(warnings, 'warning')}"


def declared(config: Config) -> str:
    """How much is declared."""
    said = config.inventory
    return ", ".join(
        _count(len(items), noun)
        for items, noun in (
            (said.networks, "network"),
            (said.clusters, "cluster"),
            (said.pools, "pool"),
            (said.nodes, "node"),
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
