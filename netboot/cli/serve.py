"""`netboot serve`: the daemon in the foreground."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers, add_config, config_paths


def register(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "serve",
        help="run the daemon in the foreground",
        description="Answers DHCP, TFTP, boot HTTP and the API until SIGTERM. SIGHUP reads the configuration "
        "again; a refused one leaves the old in force. Exit status 2: it cannot start, and says why.",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from netboot.app import serve  # late: other verbs start fast
    from netboot.events import configure_logging

    configure_logging()
    return serve(config_paths(args))
