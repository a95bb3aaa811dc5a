"""`netboot boot list|show`: how far each boot came, and why it stopped."""

from __future__ import annotations

import argparse
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
    size,
)
from netboot.errors import NetbootError
from netboot.model.boot import STEPS
from netboot.model.machine import Mac

COLUMNS: tuple[Column, ...] = (
    ("id", lambda b: b["id"]),
    ("node", lambda b: b["node"]),
    ("mac", lambda b: b["mac"]),
    ("cluster", lambda b: b["cluster"]),
    ("state", lambda b: b["state"]),
    ("step", lambda b: b["stopped_at"] or _last(b)),
    ("started", lambda b: moment(b["started"])),
    ("took", lambda b: duration(_end(b) - b["started"])),
    ("cause", lambda b: _cut(b["cause"] or "", 60)),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `boot`."""
    noun = add_noun(verbs, "boot", "what happened when machines booted")
    listing = add_verb(noun, "list", "list boots, newest first", run_list)
    listing.add_argument("what", nargs="?", metavar="NODE|MAC", help="one machine's boots only")
    listing.add_argument("--mac", help="one machine's boots only, by any of its MACs")
    listing.add_argument("--limit", type=int, default=50, help="how many at most (default: 50)")
    show = add_verb(noun, "show", "show one boot step by step", run_show)
    show.add_argument("what", nargs="?", metavar="NODE|MAC|ID", help="default: the newest boot of all")
    show.add_argument("--mac", help="the newest boot of the machine with this MAC")


def run_list(args: argparse.Namespace) -> int:
    """Print the list."""
    return print_items(_found(connect(args), args, args.limit), COLUMNS, args.output)


def run_show(args: argparse.Namespace) -> int:
    """Print one boot's timeline."""
    client = connect(args)
    if args.what and not args.mac and not _is_mac(args.what):
        try:
            return print_item(client.get("boots", args.what), args.output, timeline)
        except ApiError as error:
            if error.status != 404:
                raise
    found = _found(client, args, 1)
    if not found:
        whose = args.mac or args.what
        raise NetbootError(f"no boot of {whose} is known" if whose else "no boot is known yet")
    return print_item(found[0], args.output, timeline)


def _found(client: Client, args: argparse.Namespace, limit: int) -> list[Json]:
    mac = args.mac or (args.what if args.what and _is_mac(args.what) else None)
    node = args.what if args.what != mac else None
    return client.items("boots", mac=mac, node=node, limit=limit)


def timeline(boot: Json) -> str:
    """A boot drawn step by step with the time since its start, and where and why it stopped."""
    done, failed, ahead = ("✓", "✗", "·") if fancy() else ("+", "x", ".")
    reached = {step["step"]: step for step in boot["steps"]}
    begun, last = boot["started"], _last(boot)
    lines = _head(boot)
    for name in STEPS:
        step = reached.get(name)
        stopped = name == boot["stopped_at"]
        mark = failed if stopped else done if step else ahead
        if step is None and not stopped and boot["state"] == "joined":
            continue
        at = f"+{duration(step['at'] - begun)}" if step else ""
        note = _progress(step) if step else ""
        here = "  <- stopped here" if stopped else "  <- now" if _is_now(boot, name, last) else ""
        lines.append(f"  {mark} {name:<15}{at:>12}  {note}{here}".rstrip())
    if boot["cause"]:
        lines += ["", f"stopped at {boot['stopped_at']}: {printable(boot['cause'])}"]
    return "\n".join(lines)


def _head(boot: Json) -> list[str]:
    runs = f"image {boot['image'] or '-'}, generation {(boot['generation'] or '-')[:12]}"
    ran = "for" if boot["ended"] is None else "after"
    return [
        f"boot {boot['id']} of {printable(boot['node'])} ({boot['mac']}), cluster {boot['cluster']}, {runs}",
        f"started {moment(boot['started'])}, {boot['state']} {ran} {duration(_end(boot) - boot['started'])}",
        *([f"quirks: {', '.join(map(printable, boot['quirks']))}"] if boot.get("quirks") else []),
        "",
    ]


def _progress(step: Json) -> str:
    words = []
    if step["bytes"] is not None:
        words.append(size(step["bytes"]))
        if step["of"]:
            words.append(f"of {size(step['of'])} ({100 * step['bytes'] // step['of']} %)")
    if step["detail"]:
        words.append(printable(step["detail"]))
    return " ".join(words)


def _is_now(boot: Json, step: str, last: str) -> bool:
    return bool(boot["state"] == "booting" and step == last)


def _last(boot: Json) -> str:
    return str(boot["steps"][-1]["step"]) if boot["steps"] else "-"


def _end(boot: Json) -> float:
    """When a boot ended; now while it goes on, its last step where it fell silent."""
    if boot["ended"] is not None:
        return float(boot["ended"])
    return time.time() if boot["state"] == "booting" or not boot["steps"] else float(boot["steps"][-1]["at"])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _is_mac(text: str) -> bool:
    try:
        Mac(text)
    except ValueError:
        return False
    return True
