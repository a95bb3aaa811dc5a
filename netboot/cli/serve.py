"""`netboot serve`: the daemon in the foreground, and shadow mode."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers, add_config, config_paths, shadow
from netboot.errors import StartError


def register(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "serve",
        help="run the daemon in the foreground, or watch another DHCP server (--observe)",
        description="Answers DHCP, TFTP, boot HTTP and the API until SIGTERM. SIGHUP reads the configuration "
        "again; a refused one leaves the old in force. With --observe it answers nothing: it listens beside "
        "another DHCP server and shows what it would have answered, and the difference. "
        "Exit status 2: it cannot start, and says why.",
    )
    add_config(parser)
    parser.add_argument("--observe", action="store_true", help="answer nothing; show what would be different")
    shadow.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve, or observe, until told to stop."""
    if args.observe:
        return _observe(args)
    if args.propose or args.output != "text":
        raise StartError("--propose and -o belong to --observe", "Add --observe, or leave them out")
    from netboot.app import serve  # late: other verbs start fast
    from netboot.events import configure_logging

    configure_logging()
    return serve(config_paths(args))


def _observe(args: argparse.Namespace) -> int:
    from netboot import observe  # late: it imports the server

    with shadow.Proposal(args) as proposal:
        return observe.watch(config_paths(args), shadow.display(args.output), proposal.take)
