"""The import rules of the house, read from the syntax trees: arrows only descend, cores touch no world."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LEVELS = (
    ("errors", "version"),
    ("model",),
    ("store", "join", "cluster", "power", "proc", "config", "net", "datagrams", "alive", "events", "catalog",
     "tree", "cold", "askers", "dhcp", "tftp", "boot", "shadow", "link"),
    ("dhcp.server", "dhcp.allocation", "dhcp.answering", "dhcp.conflict", "dhcp.doorkeeper", "dhcp.proxying",
    "dhcp.twins", "dhcp.watching",
     "tftp.server", "tftp.scripts", "web", "fleet", "probe"),
    ("startup", "nodecare"),
    ("clusters",),
    ("app", "observe"),
    ("cli", "__main__"),
)  # fmt: skip
"""From the ground up. A module belongs to its longest name in here and imports its own level or lower."""

CORES = (
    "errors", "model", "boot", "dhcp.wire", "dhcp.options", "dhcp.engine", "dhcp.route",
    "dhcp.profile", "dhcp.pool", "dhcp.stock", "dhcp.site", "dhcp.identity", "dhcp.places",
    "dhcp.option_values", "dhcp.unmoved", "dhcp.proxy", "dhcp.admission", "dhcp.rivals",
    "tftp.wire", "tftp.transfer", "dhcp.readable",
    "shadow.pcap", "shadow.frame", "shadow.exchange", "shadow.compare", "shadow.assess", "shadow.propose",
    "join.authority", "join.csr", "join.kubelet", "join.static_files",
    "cluster.approval", "cluster.drift", "cluster.rights", "probe.clients", "probe.offers", "probe.script",
)  # fmt: skip
ROOTS = ("app", "clusters", "nodecare", "observe")
"""The composition root, in parts."""
DOORS = ("store", "join", "cluster", "power", "proc")
SHELLS = (
    "dhcp.server", "dhcp.allocation", "dhcp.answering", "dhcp.conflict", "dhcp.doorkeeper", "dhcp.proxying",
    "dhcp.twins", "dhcp.watching",
    "tftp.server", "tftp.scripts", "web", "fleet",
)  # fmt: skip
WORLD = {
    "asyncio", "socket", "selectors", "select", "aiohttp", "sqlite3", "ssl", "http.client", "http.server",
    "urllib.request", "subprocess", "threading", "multiprocessing", "time", "random", "secrets", "signal",
}  # fmt: skip
"""What cores and doors know nothing of: sockets, loops, databases, processes, the clock, chance."""
NOW = re.compile(r"\b(datetime|date)\.(now|utcnow|today)\(|os\.urandom\(|uuid[14]\(\)")
ONE_SHELL = (
    {"dhcp.server", "dhcp.allocation", "dhcp.answering", "dhcp.conflict", "dhcp.doorkeeper", "dhcp.proxying",
     "dhcp.twins", "dhcp.watching"},
    {"web.boot", "web.accept", "web.exchange", "web.peers", "web.http1"},
    {"web.bulk", "web.https", "web.static", "web.pace", "web.http1"},
)  # fmt: skip
"""Files of one shell; the parser of request heads serves both readers of one stream."""
LEAN = ("tftp.server", "web.bulk", "web.https")
"""Helper processes: they import neither aiohttp nor pydantic, nor does anything that they import."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import of one file of the product."""

    module: str
    path: Path
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.module} imports {self.target}"


def module_of(path: Path) -> str:
    """netboot/dhcp/wire.py -> dhcp.wire, netboot/dhcp/__init__.py -> dhcp, netboot/__init__.py -> ''."""
    parts = list(path.relative_to(ROOT / "netboot").with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, in functions too; `from netboot.a import b` is a.b where that is a module."""
    module = module_of(path)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where the arrow goes"
            base = node.module or ""
            names = [full if _is_module(full := f"{base}.{alias.name}") else base for alias in node.names]
        else:
            continue
        yield from (Import(module, path, node.lineno, name) for name in names)


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return name.startswith("netboot.") and (
        path.with_suffix(".py").exists() or (path / "__init__.py").exists()
    )


def files() -> list[Path]:
    """The product's source files."""
    return sorted((ROOT / "netboot").rglob("*.py"))


def all_imports() -> list[Import]:
    """All imports of the product."""
    return [found for path in files() for found in imports_of(path)]


def inside(name: str, rooms: tuple[str, ...]) -> str | None:
    """The longest of `rooms` that `name` is, or lies in."""
    found = [room for room in rooms if name == room or name.startswith(room + ".")]
    return max(found, key=len, default=None)


def level(name: str) -> int:
    """How high a module stands; raises LookupError for one that has no place in the house yet."""
    at = {room: height for height, rooms in enumerate(LEVELS) for room in rooms}
    room = inside(name, tuple(at))
    if room is None:
        raise LookupError(f"netboot.{name} stands in no room: give it a level in tests/test_imports.py")
    return at[room]


def own(name: str) -> str | None:
    """The name below netboot, None for another package's."""
    return name.removeprefix("netboot").removeprefix(".") if name.partition(".")[0] == "netboot" else None


def explain(offences: list[Import]) -> str:
    """One line for each."""
    return "\n".join(map(str, offences))


def test_arrows_only_descend() -> None:
    """No module imports one that stands above it."""
    inner = [(i, t) for i in all_imports() if (t := own(i.target)) and i.module]
    offences = [i for i, target in inner if level(target) > level(i.module)]
    assert not offences, explain(offences)


def is_core_or_door(module: str) -> bool:
    """Cores, and the __init__ of the doors."""
    return inside(module, CORES) is not None or module in DOORS


def test_cores_and_doors_know_no_world() -> None:
    """Cores and doors import no socket, loop, database, process, clock or source of chance."""
    offences = [
        i for i in all_imports() if is_core_or_door(i.module) and inside(i.target, tuple(WORLD)) is not None
    ]
    assert not offences, explain(offences)


def test_cores_and_doors_ask_no_clock() -> None:
    """Time and randomness are arguments: cores and doors call nothing that tells them."""
    offences = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        if is_core_or_door(module_of(path))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NOW.search(line)
    ]
    assert not offences, "\n".join(offences)


def test_variants_import_their_own_door_and_lower() -> None:
    """A variant beside a door knows its own door; join also cluster's, and store's to remember its tokens."""
    offences = []
    for found in all_imports():
        room, target = inside(found.module, DOORS), own(found.target)
        if not room or not target or found.module == room:
            continue
        other = inside(target, DOORS) if inside(target, CORES) is None else None
        if other and other != room and not (room == "join" and target in ("cluster", "store")):
            offences.append(found)
    assert not offences, explain(offences)


def test_only_app_names_concrete_variants() -> None:
    """Everybody but the roots and the room itself knows a variant by its door."""
    offences = []
    for found in all_imports():
        target = own(found.target)
        room = inside(target or "", ("store", "join", "cluster", "power"))
        if inside(target or "", CORES):
            continue  # a pure decision is no variant
        outside = inside(found.module, (room,)) is None if room else False
        if room and target != room and outside and found.module not in ROOTS:
            offences.append(found)
    assert not offences, explain(offences)


def test_shells_never_import_one_another() -> None:
    """Shells meet below themselves: in boot, model and events."""
    offences = []
    for found in all_imports():
        target = own(found.target) or ""
        here, there = inside(found.module, SHELLS), inside(target, SHELLS)
        if here and there and target not in ("web", "fleet") and not same_shell(found.module, target):
            offences.append(found)
    assert not offences, explain(offences)


def same_shell(one: str, other: str) -> bool:
    """Whether two modules are one shell: a module with itself, web/api/ and fleet/ with their own files."""
    folders = ("web.api", "fleet", "dhcp.server", "tftp.server")
    return (
        one == other
        or any(inside(one, (f,)) and inside(other, (f,)) for f in folders)
        or any(inside(one, tuple(shell)) and inside(other, tuple(shell)) for shell in ONE_SHELL)
    )


@pytest.mark.parametrize("module", LEAN)
def test_helpers_stay_lean(module: str) -> None:
    """Nothing that a helper process imports, directly or not, is aiohttp or pydantic."""
    by_module: dict[str, list[Import]] = {}
    for found in all_imports():
        by_module.setdefault(found.module, []).append(found)
    seen, waiting, offences = {module}, [module], []
    while waiting:
        for found in by_module.get(waiting.pop(), []):
            if inside(found.target, ("aiohttp", "pydantic")):
                offences.append(found)
            target = own(found.target)
            if target and target not in seen:
                seen.add(target)
                waiting.append(target)
    assert not offences, explain(offences)


# The mirror

MIRRORED_ELSEWHERE = {
    "__init__": "the glossary and the map",
    "__main__": "one line; every test of the command line goes through it",
    "errors": "the exception tree; each error is met where it is raised",
    "config.checks": "every mistake has a bad file of its own in tests/data/config: test_checks.py",
    "web.exchange": "values, and who answers; every test of the boot port asks with them",
    "web.api.sources": "what the API's views are given; each of their tests gives it",
    "web.api.answers": "a few words that all views of the API answer with",
}
"""Modules (or packages with all that is in them) without a test file of their own, and why."""


def mirrors_of(path: Path) -> list[Path]:
    """Where the tests of a module may lie: its mirror, in one file or several with its name in front."""
    relative = path.relative_to(ROOT / "netboot")
    folder = ROOT / "tests" / relative.parent
    stem = relative.parent.name if relative.stem == "__init__" else relative.stem
    if relative.stem == "__init__":
        return [p for p in [*folder.glob("test_*.py"), *folder.parent.glob(f"test_{stem}*.py")] if p.exists()]
    wide = [ROOT / "tests" / kind for kind in ("interop", "lab")]
    return [p for f in (folder, *wide) for p in f.glob(f"test_{stem}*.py")]


def test_the_tests_mirror_the_tree() -> None:
    """Every module has its test file, or stands in the list of exceptions with a reason."""
    missing = [
        str(path.relative_to(ROOT))
        for path in files()
        if inside(module_of(path) or "__init__", tuple(MIRRORED_ELSEWHERE)) is None and not mirrors_of(path)
    ]
    assert not missing, "modules without a test file: " + ", ".join(missing)


# What the repository's text must not hold


def tracked() -> list[Path]:
    """The files under version control, where this is a clone; else all that are not generated."""
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        return [path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    return [
        p for p in ROOT.rglob("*") if p.is_file() and ".venv" not in p.parts and "__pycache__" not in p.parts
    ]


def test_the_repository_names_no_package_registry() -> None:
    """Registries are the business of each machine's own pip and apt configuration."""
    hosts = [
        ("deb", "debian"),
        ("security", "debian"),
        ("snapshot", "debian"),
        ("pypi", ""),
        ("files", "pythonhosted"),
    ]
    words = [".".join(filter(None, (*pair, "org"))) for pair in hosts]
    words.append(".".join(("registry", "npmjs", "org")))
    pattern = re.compile("|".join(map(re.escape, words)).encode())
    offences = [str(p.relative_to(ROOT)) for p in tracked() if pattern.search(p.read_bytes())]
    assert not offences, "name registries: " + ", ".join(offences)
