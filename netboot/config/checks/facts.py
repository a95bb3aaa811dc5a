"""What the checks look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.config import schema
from netboot.config.keys import RawPath
from netboot.config.problems import Place, Problem, shown
from netboot.config.reading import Source
from netboot.model.inventory import Node


@dataclass(frozen=True, slots=True)
class Declared:
    """A node and where it stands."""

    node: Node
    place: Place
    path: str

    def problem(self, what: str, remedy: str) -> Problem:
        """A problem of this node."""
        return Problem(self.place, self.path, what, remedy)


@dataclass(frozen=True)
class Facts:
    """What the checks look at: `source` as written, `root` what is valid of it, made of `rest`."""

    source: Source
    rest: Source
    root: schema.Root
    nodes: tuple[Declared, ...]

    def names(self, key: str) -> tuple[str, ...]:
        """The names declared under a key, those of refused entries too."""
        entries = self.source.tree.get(key)
        if isinstance(entries, dict):
            return tuple(entries)
        listed = entries if isinstance(entries, list) else []
        return tuple(str(e["name"]) for e in listed if isinstance(e, dict) and "name" in e)

    def problem(self, path: RawPath, what: str, remedy: str) -> Problem:
        """A problem at a path of the valid tree, whose lines are those of the files."""
        return self.rest.problem(path, what, remedy)

    def wrote(self, key: str, name: str, *below: str) -> bool:
        """Whether the entry of that name says something under these keys, be it wrong."""
        entries = self.source.tree.get(key)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name:
                here: object = entry
                for part in below:
                    here = here.get(part) if isinstance(here, dict) else None
                if here is not None:
                    return True
        return False


def few(places: list[str]) -> str:
    """The first three of them, and how many more."""
    distinct = list(dict.fromkeys(places))
    more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
    return ", ".join(distinct[:3]) + more


def unknown(facts: Facts, path: RawPath, kind: str, name: str | None) -> Iterator[Problem]:
    """A reference under `kind` to a name that is not declared there, or to none."""
    known = facts.names(kind)
    if name is None:
        which = f"one of {', '.join(known)}" if known else f"one, and declare it under {kind}"
        yield facts.problem(
            path, f"none is named, and there is not exactly one under {kind}", f"write {which}"
        )
    elif name not in known:
        listed = f"declared are {', '.join(known)}" if known else f"nothing stands under {kind}"
        yield facts.problem(path, f"there is no {shown(name)} under {kind}", f"declare it there; {listed}")


def tag_references(facts: Facts, path: RawPath, tags: Iterable[str]) -> Iterator[Problem]:
    """Tags of an entry that are not declared."""
    for index, tag in enumerate(tags):
        yield from unknown(facts, (*path, "tags", index), "tags", tag)


def usable(network: schema.Network, address: IPv4Address) -> bool:
    """Whether a machine can have this address in this network."""
    subnet = network.subnet
    return address in subnet and address not in (subnet.network_address, subnet.broadcast_address)


def leases_nothing(facts: Facts, name: str) -> bool:
    """Whether we should lease there and can not: without a range, and no other server does."""
    known = any(n.name == name and n.mode == "server" for n in facts.root.networks)
    return known and not facts.wrote("networks", name, "range")
