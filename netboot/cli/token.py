"""`netboot token make|show`: a token for the API, and whose token one is."""

from __future__ import annotations

import argparse
import hashlib
import secrets

from netboot.cli import Subparsers
from netboot.cli.client import Json, add_noun, add_verb, connect, print_item
from netboot.errors import NetbootError
from netboot.model.access import ROLE_WORDS


def register(verbs: Subparsers) -> None:
    """Add the noun `token`."""
    noun = add_noun(verbs, "token", "who may use the API: make a token, or see whose one is")
    what = "print a fresh token, once, and its entry for server.api.tokens_file"
    make = noun.add_parser("make", help=what, description=what)
    make.add_argument("--name", required=True, help="whose it is, as the audit shall tell")
    make.add_argument(
        "--role",
        required=True,
        choices=ROLE_WORDS,
        help="viewer reads; operator changes; admin may everything",
    )
    make.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    make.set_defaults(run=_make)
    add_verb(noun, "show", "show whose token is used, and its role", _show)


def _make(args: argparse.Namespace) -> int:
    from netboot.config import tokens_file  # pydantic takes a moment

    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    entry = {"name": args.name, "role": args.role, "sha256": digest}
    if wrong := tokens_file.wrong(entry):
        raise NetbootError(wrong)
    return print_item({"token": token, "entry": entry}, args.output, _told)


def _told(made: Json) -> str:
    entry = made["entry"]
    return (
        "This token is shown once and kept nowhere; send it as `Authorization: Bearer TOKEN`:\n"
        f"{made['token']}\n"
        "Add this line to the file that server.api.tokens_file names; it is read again when it changes:\n"
        f'- {{name: "{entry["name"]}", role: {entry["role"]}, sha256: "{entry["sha256"]}"}}'
    )


def _show(args: argparse.Namespace) -> int:
    return print_item(connect(args).get("self"), args.output)
