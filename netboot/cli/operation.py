"""`netboot operation list|show|cancel`: reassignments, step by step."""

from __future__ import annotations

import argparse
import sys
import time

from netboot.cli import Subparsers
from netboot.cli.client import (
    ApiError,
    Client,
    Column,
    Json,
    add_noun,
    add_verb,
    connect,
    duration,
    fancy,
    moment,
    print_item,
    print_items,
    printable,
)
from netboot.errors import NetbootError
from netboot.model.operation import BACK, STEPS

COLUMNS: tuple[Column, ...] = (
    ("id", lambda o: o["id"]),
    ("machine", lambda o: o["machine"]),
    ("from", lambda o: o["source"]["cluster"]),
    ("to", lambda o: o["target"]["cluster"]),
    ("state", lambda o: o["state"]),
    ("step", lambda o: o["step"]),
    ("started", lambda o: moment(o["started"])),
    ("reason", lambda o: o["reason"]),
)

LOOK_EVERY = 0.5
"""Seconds between two looks at an operation that is waited for."""

RESTART = 60.0
"""Seconds for which an appliance may not answer while an operation is waited for."""


def register(verbs: Subparsers) -> None:
    """Add the noun `operation`."""
    noun = add_noun(verbs, "operation", "reassignments, step by step")
    listing = add_verb(noun, "list", "list operations, newest first", _list)
    listing.add_argument("--limit", type=int, default=50, help="how many at most (default: 50)")
    show = add_verb(noun, "show", "show one operation with its timeline", _show)
    show.add_argument("id", metavar="ID")
    add_wait(show)
    cancel = add_verb(noun, "cancel", "roll an operation back", _cancel)
    cancel.add_argument("id", metavar="ID")
    add_wait(cancel)


def add_wait(parser: argparse.ArgumentParser) -> None:
    """The option `--wait`, as every verb has it that begins or shows an operation."""
    parser.add_argument(
        "--wait", action="store_true", help="until it has ended; status 1 if it was rolled back"
    )


def follow(client: Client, operation: Json, args: argparse.Namespace) -> int:
    """Print an operation that was begun or asked for; with `--wait` each step as it comes, to its end."""
    if not args.wait or operation["state"] == "planned":
        return print_item(operation, args.output, timeline)
    operation = _to_its_end(client, operation, args.output == "table")
    if args.output != "table":
        print_item(operation, args.output)
    else:
        print("\n".join(ending(operation)))
    wanted = ("done", "rolled back") if getattr(args, "undoing", False) else ("done",)
    return 0 if operation["state"] in wanted else 1


def _to_its_end(client: Client, operation: Json, told: bool) -> Json:
    shown = 0
    if told:
        print("\n".join(_head(operation)))
    try:
        while True:
            if told:
                print("".join(f"{line}\n" for line in _lines(operation)[shown:]), end="")
                sys.stdout.flush()
            shown = len(operation["steps"])
            if operation["ended"] is not None:
                return operation
            time.sleep(LOOK_EVERY)
            operation = _looked(client, operation)
    except KeyboardInterrupt:
        identity = operation["id"]
        print(
            f"\nit goes on: `netboot operation show {identity} --wait` follows it again, "
            f"`netboot operation cancel {identity}` rolls it back",
            file=sys.stderr,
        )
        raise


def _looked(client: Client, operation: Json) -> Json:
    """The operation as it stands; an appliance that is being restarted is waited for."""
    until = time.monotonic() + RESTART
    while True:
        try:
            return client.get("operations", operation["id"])
        except NetbootError as error:
            if isinstance(error, ApiError) or time.monotonic() > until:
                raise
            time.sleep(LOOK_EVERY)


def _list(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("operations", limit=args.limit), COLUMNS, args.output)


def _show(args: argparse.Namespace) -> int:
    client = connect(args)
    return follow(client, client.get("operations", args.id), args)


def _cancel(args: argparse.Namespace) -> int:
    client = connect(args)
    args.undoing = True
    return follow(client, client.delete("operations", args.id), args)


def timeline(operation: Json) -> str:
    """An operation drawn step by step, what is still ahead of it, what it waits for and what is left."""
    lines = _head(operation) + _lines(operation)
    if operation["ended"] is None and operation["state"] != "planned":
        steps = BACK if operation["state"] == "rolling back" else STEPS
        ahead = "·" if fancy() else "."
        begun = any(line["step"] == operation["step"] for line in operation["steps"])
        lines += [f"  {ahead} {step}" for step in steps[steps.index(operation["step"]) + begun :]]
    return "\n".join([*lines, *ending(operation)])


def ending(operation: Json) -> list[str]:
    """How it stands, in the last lines."""
    words = {"planned": "nothing was changed: this is what would be done", "done": "done"}
    lines = ["", words.get(operation["state"]) or str(operation["state"])]
    if operation["reason"] and operation["reason"] != operation["left"]:
        lines[-1] += f": {printable(operation['reason'])}"
    if operation["left"]:
        lines.append(f"left to you: {printable(operation['left'])}")
    return lines


def _head(operation: Json) -> list[str]:
    source, target = operation["source"], operation["target"]
    by = f", by {printable(operation['by'])}" if operation["by"] else ""
    times = operation["resumed"]
    resumed = f", resumed after {times} restart{'s' if times > 1 else ''}" if times else ""
    what = f"{printable(operation['machine'])}: {source['cluster']} ({source['node']}) -> "
    return [
        f"operation {operation['id']}, {what}{target['cluster']} ({target['node']})",
        f"started {moment(operation['started'])}{by}{resumed}",
        "",
    ]


def _lines(operation: Json) -> list[str]:
    """One line for each of its timeline; the step that is taken now is marked."""
    done, now = ("✓", "…") if fancy() else ("+", ">")
    last, running = len(operation["steps"]) - 1, operation["ended"] is None
    planned = operation["state"] == "planned"
    lines = []
    for number, line in enumerate(operation["steps"]):
        here = running and not planned and number == last and line["step"] == operation["step"]
        at = "" if planned else f"+{duration(line['at'] - operation['started'])}"
        mark = " " if planned else now if here else done
        lines.append(f"  {mark} {line['step']:<11}{at:>12}  {printable(line['text'])}".rstrip())
    return lines
