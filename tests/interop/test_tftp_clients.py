"""Strangers' TFTP clients across a matrix of options, on a clean and on a lossy link."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

import pytest

from netboot.proc.supervisor import TftpLimits
from tests.interop.clients import digest, run
from tests.interop.lossy import LossyRelay
from tests.proc.house import House, house, make_image, make_served, until

pytestmark = pytest.mark.root

SINGLE = TftpLimits(single_port=True)
SIZES = {"empty": 0, "one": 1, "short": 511, "block": 512, "exact": 1468 * 8, "middle": 300_001}


@pytest.fixture(params=[None, SINGLE], ids=["own-ports", "single-port"])
async def made(request: pytest.FixtureRequest, tmp_path: Path):
    served = make_served(tmp_path)
    for name, size in SIZES.items():
        (tmp_path / "files" / name).write_bytes(os.urandom(size))
    async with house(served, tftp=True, workers=0, limits=request.param) as running:
        yield running


def atftp(server: tuple[str, int], name: str, to: Path, *options: str) -> list[str]:
    chosen = [part for option in options for part in ("--option", option)]
    return ["atftp", *chosen, "-g", "-r", name, "-l", str(to), server[0], str(server[1])]


def busybox(server: tuple[str, int], name: str, to: Path, *options: str) -> list[str]:
    return ["busybox", "tftp", "-g", *options, "-r", name, "-l", str(to), server[0], str(server[1])]


def hpa(server: tuple[str, int], name: str, to: Path, *_: str) -> list[str]:
    return ["tftp", "-m", "binary", server[0], str(server[1]), "-c", "get", name, str(to)]


def curl(server: tuple[str, int], name: str, to: Path, *options: str) -> list[str]:
    return ["curl", "-sS", "-m", "55", *options, "-o", str(to), f"tftp://{server[0]}:{server[1]}/{name}"]


MATRIX = [
    *[
        (atftp, options)
        for options in (
            (),
            ("blksize 8",),
            ("blksize 1468",),
            ("blksize 65464",),
            ("tsize 0",),
            ("timeout 2",),
            ("windowsize 4",),
            ("windowsize 64", "blksize 1468", "tsize 0", "timeout 3"),
        )
    ],
    *[(busybox, options) for options in ((), ("-b", "1432"), ("-b", "65464"))],
    (hpa, ()),
    *[
        (curl, options)
        for options in ((), ("--tftp-no-options",), ("--tftp-blksize", "1468"), ("--tftp-blksize", "8192"))
    ],
]


@pytest.mark.parametrize(
    ("client", "options"),
    MATRIX,
    ids=lambda value: getattr(value, "__name__", None) or " ".join(value) or "plain",
)
async def test_every_client_gets_every_size_whole(made: House, tmp_path: Path, client, options) -> None:
    """Empty, one byte, around a block, whole blocks, many blocks."""
    for name, size in SIZES.items():
        if "blksize 8" in options and size > 20_000:
            continue
        if client is curl and size == 0:
            continue  # curl 7.88 itself fails at an empty file, with any server: "getpeername() failed"
        got = tmp_path / f"got-{name}"
        code, said = await run(*client(made.tftp, name, got, *options))
        assert code == 0, (name, said)
        # atftp and curl make no file for an empty one
        assert (digest(got) if got.exists() else digest(tmp_path / "files" / "empty")) == digest(
            tmp_path / "files" / name
        )


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("options", [{}, {"blksize": 1468}, {"blksize": 1468, "tsize": 0}])
async def test_tftpy_gets_every_size_whole(made: House, tmp_path: Path, options: dict[str, int]) -> None:
    """tftpy negotiates like firmware does."""
    tftpy = pytest.importorskip("tftpy")
    for name in SIZES:
        got = tmp_path / f"got-{name}"
        client = tftpy.TftpClient(*made.tftp, options=options)
        await asyncio.to_thread(client.download, name, str(got))
        assert digest(got) == digest(tmp_path / "files" / name)


@pytest.mark.parametrize("client", [atftp, busybox, hpa, curl])
async def test_every_client_understands_a_refusal(made: House, tmp_path: Path, client) -> None:
    """A missing file and a way out of the tree: a message at once, no waiting, no file."""
    for name in ("missing", "sub/../../secret"):
        got = tmp_path / "got"
        _, said = await run(*client(made.tftp, name, got), seconds=10)
        assert not got.exists() or got.stat().st_size == 0, said


def with_options(blksize: int | None, windowsize: int, tsize: bool, timeout: int) -> tuple[str, ...]:
    chosen = {"blksize": blksize, "windowsize": windowsize if windowsize > 1 else None}
    chosen |= {"tsize": 0 if tsize else None, "timeout": timeout or None}
    return tuple(f"{name} {value}" for name, value in chosen.items() if value is not None)


async def test_options_in_every_combination(made: House, tmp_path: Path) -> None:
    """blksize, windowsize, tsize and timeout, each given or not: atftp gets the file whole each time."""
    got = tmp_path / "got"
    for chosen in itertools.product((None, 512, 1432, 8192), (1, 4, 16, 64), (False, True), (0, 2)):
        code, said = await run(*atftp(made.tftp, "middle", got, *with_options(*chosen)))
        assert code == 0, (chosen, said)
        assert digest(got) == digest(tmp_path / "files" / "middle"), chosen


async def test_writing_is_refused_to_every_client(made: House, tmp_path: Path) -> None:
    """curl, atftp and busybox try to put a file: refused and nothing on disk."""
    own = tmp_path / "own"
    own.write_bytes(b"mine")
    host, port = made.tftp
    for command in (
        ["curl", "-sS", "-m", "10", "-T", str(own), f"tftp://{host}:{port}/own"],
        ["atftp", "-p", "-l", str(own), "-r", "own", host, str(port)],
        ["busybox", "tftp", "-p", "-l", str(own), "-r", "own", host, str(port)],
    ):
        code, said = await run(*command, seconds=15)
        assert code != 0, said
    assert not (tmp_path / "files" / "own").exists()
    await until(lambda: len(made.refused) >= 3)


async def test_text_mode_is_refused_with_a_text_that_the_user_sees(made: House, tmp_path: Path) -> None:
    """tftp-hpa in mode ascii prints what to change."""
    host, port = made.tftp
    command = ["tftp", "-m", "ascii", host, str(port), "-c", "get", "short", str(tmp_path / "got")]
    _, said = await run(*command, seconds=15)
    assert "octet" in said


@pytest.fixture
async def big(tmp_path: Path):
    """A house whose image has a file of 97 MB and one of 35 MB, and where they lie."""
    files = {"root.squashfs": os.urandom(97_000_000), "initrd.img": os.urandom(35_000_000)}
    generation = make_image(tmp_path / "images", files)
    async with house(make_served(tmp_path), tftp=True, workers=0) as running:
        yield running, f"images/demo/{generation}"


WRAPPING = {
    "512-lockstep-hpa": (hpa, ()),
    "512-lockstep-curl": (curl, ("--tftp-no-options",)),
    "512-windows-atftp": (atftp, ("windowsize 32",)),
    "1428-lockstep-curl": (curl, ("--tftp-blksize", "1428")),
    "1432-lockstep-busybox": (busybox, ("-b", "1432")),
    "1468-windows-atftp": (atftp, ("windowsize 16", "blksize 1468")),
}
"""Ways past block 65535: of 512 octets those are 34 MB, of 1468 octets 96 MB."""


@pytest.mark.parametrize("way", WRAPPING)
async def test_more_blocks_than_sixteen_bits_can_count_arrive(
    big: tuple[House, str], tmp_path: Path, way: str
) -> None:
    """Over 32 MB in small blocks and over 90 MB in big ones, in lockstep and in windows: every octet."""
    made, folder = big
    client, options = WRAPPING[way]
    name = f"{folder}/{'initrd.img' if way.startswith('512-') else 'root.squashfs'}"
    got = tmp_path / "got"
    command = client(made.tftp, name, got, *options)
    code, said = await run(*["100" if word == "55" else word for word in command], seconds=110)
    assert code == 0, said
    assert digest(got) == digest(tmp_path / name)


@pytest.mark.parametrize(("loss", "disorder"), [(0.01, 0.0), (0.05, 0.0), (0.05, 0.05)])
@pytest.mark.parametrize(
    ("client", "options"),
    [
        (atftp, ("windowsize 8", "blksize 1468", "timeout 1")),
        (hpa, ()),
        (busybox, ("-b", "1432")),
        (curl, ("--tftp-blksize", "1468")),
    ],
)
async def test_a_lossy_link_slows_a_transfer_and_does_not_break_it(
    made: House, tmp_path: Path, client, options, loss: float, disorder: float
) -> None:
    """1 and 5 % of the datagrams lost each way, some reordered: every byte arrives."""
    with LossyRelay(made.tftp, loss=loss, disorder=disorder) as relay:
        got = tmp_path / "got"
        code, said = await run(*client(relay.address, "middle", got, *options), seconds=90)
        assert code == 0, said
        assert relay.lost or loss < 0.02
        assert digest(got) == digest(tmp_path / "files" / "middle")


async def test_many_clients_at_once_get_their_files(made: House, tmp_path: Path) -> None:
    """Forty transfers side by side, lockstep and windows."""

    async def one(number: int) -> None:
        options = ("blksize 1468", "windowsize 8") if number % 2 else ("blksize 1024",)
        got = tmp_path / f"got-{number}"
        code, said = await run(*atftp(made.tftp, "middle", got, *options))
        assert code == 0, said
        assert digest(got) == digest(tmp_path / "files" / "middle")

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(one(number))
    await until(lambda: sum(t.done and t.error is None for t in made.transfers) == 40)
