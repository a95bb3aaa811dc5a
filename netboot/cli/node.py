"""`netboot node list|show|assign|unassign|admit|holds|release`: machines, what they belong to and why."""

from __future__ import annotations

import argparse
from typing import Any

from netboot.cli import Subparsers
from netboot.cli.client import Column, Json, add_noun, add_verb, connect, print_item, print_items
from netboot.cli.operation import add_wait, follow
from netboot.errors import NetbootError

COLUMNS: tuple[Column, ...] = (
    ("name", lambda n: n["name"]),
    ("macs", lambda n: n["macs"]),
    ("address", lambda n: n["address"]),
    ("cluster", lambda n: n["cluster"]),
    ("pool", lambda n: n["pool"]),
    ("image", lambda n: n["image"]),
    ("declared", lambda n: n["declared"]),
    ("assigned", lambda n: n["assignment"] is not None),
    ("last boot", lambda n: _boot(n["boot"]) if n["admission"] != "waiting" else "waits for `node admit`"),
)

HOLDS: tuple[Column, ...] = (
    ("node", lambda h: h["node"]),
    ("cluster", lambda h: h["cluster"]),
    ("mac", lambda h: h["mac"]),
    ("address", lambda h: h["address"]),
    ("why", lambda h: h["why"]),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `node`."""
    noun = add_noun(verbs, "node", "machines, what they belong to and why")
    add_verb(noun, "list", "list the machines", _list)
    add_verb(noun, "show", "show one machine", _show).add_argument("name", metavar="NAME|MAC")
    _add_assign(noun)
    unassign = add_verb(noun, "unassign", "return a machine to what the file declares", _unassign)
    unassign.add_argument("mac", metavar="MAC|NAME")
    _add_manner(unassign)
    admit = add_verb(noun, "admit", "let a machine that nobody declared join (admission: approval)", _admit)
    admit.add_argument("mac", metavar="MAC")
    admit.add_argument("--withdraw", action="store_true", help="let it join no longer")
    release = add_verb(noun, "release", "hold a name no longer whose token was misused", _release)
    release.add_argument("name", metavar="NAME")
    add_verb(noun, "holds", "list names that are held, because a token for them was misused", _holds)


def _add_assign(noun: Any) -> None:
    verb = add_verb(noun, "assign", "give a machine to a cluster or a pool", _assign)
    verb.add_argument("mac", metavar="MAC|NAME")
    verb.add_argument("cluster", nargs="?", metavar="CLUSTER")
    verb.add_argument("--pool", metavar="POOL", help="instead of a cluster: its cluster, its tags, its image")
    verb.add_argument("--name", metavar="NAME", help="its name from the next boot on")
    verb.add_argument("--address", metavar="ADDRESS", help="its address from the next boot on")
    verb.add_argument("--tag", action="append", metavar="TAG", help="in place of its own tags; several times")
    _add_manner(verb)


def _add_manner(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--drain", action="store_true", help="have its pods go first")
    verb.add_argument("--force", action="store_true", help="also where something speaks against it")
    verb.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_wait(verb)


def _list(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("nodes"), COLUMNS, args.output)


def _show(args: argparse.Namespace) -> int:
    return print_item(connect(args).get("nodes", args.name), args.output)


def _assign(args: argparse.Namespace) -> int:
    if (args.cluster is None) == (args.pool is None):
        raise NetbootError("name either a cluster or a pool: `netboot node assign MAC CLUSTER | --pool POOL`")
    wanted = {
        "cluster": args.cluster,
        "pool": args.pool,
        "name": args.name,
        "address": args.address,
        "tags": args.tag,
        "drain": args.drain or None,
        "force": args.force or None,
        "dry_run": args.dry_run or None,
    }
    client, body = connect(args), {key: value for key, value in wanted.items() if value is not None}
    return follow(client, client.put(body, "nodes", args.mac, "assignment"), args)


def _unassign(args: argparse.Namespace) -> int:
    client = connect(args)
    args.undoing = True
    flags = {name: "true" for name in ("drain", "force", "dry_run") if getattr(args, name)}
    return follow(client, client.delete("nodes", args.mac, "assignment", **flags), args)


def _admit(args: argparse.Namespace) -> int:
    client, path = connect(args), ("nodes", args.mac, "admission")
    found = client.delete(*path) if args.withdraw else client.post({}, *path)
    may = "may not join any more" if args.withdraw else "may join"
    return print_item(found, args.output, lambda a: f"{a['mac']} {may}")


def _release(args: argparse.Namespace) -> int:
    found = connect(args).delete("holds", args.name)
    return print_item(found, args.output, lambda _: f"{args.name} is held no longer")


def _holds(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("holds"), HOLDS, args.output)


def _boot(boot: Json | None) -> str | None:
    if boot is None:
        return None
    at = boot["stopped_at"] or (boot["steps"][-1]["step"] if boot["steps"] else "-")
    return str(boot["state"]) if boot["state"] == "joined" else f"{boot['state']} at {at}"
