"""The command line: `netboot VERB ...`. One file per noun or verb; nothing but verbs lives here.

A file of this room has `register(subparsers)`, which adds its parsers and sets `run` as their default, and
is named in `VERBS`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Protocol

from netboot.errors import ConfigError, NetbootError, StartError

VERBS = (
    "serve",
    "check",
    "explain",
    "quirks",
    "probe",
    "node",
    "boot",
    "lease",
    "image",
    "pool",
    "cluster",
    "assignment",
    "operation",
    "audit",
    "token",
)
"""The files of this room, in the order that the help shows."""

DEFAULT_CONFIG = "/etc/netboot/netboot.yaml"


class Subparsers(Protocol):
    """What `register` is given: argparse's list of verbs."""

    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser:
        """A new verb's parser."""


def add_config(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The option `--config`, several times or a directory, as every verb that reads the file takes it."""
    parser.add_argument(
        "--config",
        action="append",
        required=required,
        metavar="FILE",
        help=f"the operator's file, or a directory of *.yaml; later ones win (default: {DEFAULT_CONFIG})",
    )


def config_paths(args: argparse.Namespace) -> list[str]:
    """What `--config` said, or the default."""
    return args.config or [DEFAULT_CONFIG]


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, or only one verb's: a client verb starts without what the daemon imports."""
    top = argparse.ArgumentParser(
        prog="netboot", description="Boots diskless machines and joins them to their cluster."
    )
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for verb in (only,) if only in VERBS else VERBS:
        importlib.import_module(f"netboot.cli.{verb}").register(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 refused, 2 cannot start or wrong usage."""
    words = sys.argv[1:] if argv is None else argv
    args = parser(words[0] if words else None).parse_args(words)
    try:
        return int(args.run(args))
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NetbootError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
