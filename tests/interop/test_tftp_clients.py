"""Strangers' TFTP clients across a matrix of options, on a clean and on a lossy link."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.interop.lossy import LossyRelay
from tests.proc.house import House, house, make_image, make_served, until

pytestmark = pytest.mark.root

SIZES = {"empty": 0, "one": 1, "short": 511, "block": 512, "exact": 1468 * 8, "middle": 300_001}


@pytest.fixture
async def made(tmp_path: Path):
    served = make_served(tmp_path)
    for name, size in SIZES.items():
        (tmp_path / "files" / name).write_bytes(os.urandom(size))
    async with house(served, tftp=True, workers=0) as running:
        yield running


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def run(*command: str, seconds: float = 60.0, cwd: Path | None = None) -> tuple[int, str]:
    """Run a client; its status and what it said."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=cwd
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode("utf-8", "replace")


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


async def test_a_file_over_32_megabytes_wraps_the_block_number(made: House, tmp_path: Path) -> None:
    """40 MB in blocks of 512 are 78,125 blocks (atftp, curl: windows and lockstep)."""
    big = tmp_path / "files" / "big"
    big.write_bytes(os.urandom(40_000_000))
    got = tmp_path / "got"
    code, said = await run(*curl(made.tftp, "big", got), seconds=100)
    assert code == 0, said
    assert digest(got) == digest(big)
    got.unlink()
    code, said = await run(*atftp(made.tftp, "big", got, "windowsize 32"), seconds=100)
    assert code == 0, said
    assert digest(got) == digest(big)


async def test_a_file_over_90_megabytes_arrives(made: House, tmp_path: Path) -> None:
    """95 MB in blocks of 1468 and windows of 16: more than 65535 blocks, served as an image's file."""
    generation = make_image(tmp_path / "images", {"root.squashfs": os.urandom(97_000_000)})
    name = f"images/demo/{generation}/root.squashfs"
    got = tmp_path / "got"
    code, said = await run(*atftp(made.tftp, name, got, "windowsize 16", "blksize 1468"), seconds=100)
    assert code == 0, said
    assert digest(got) == digest(tmp_path / name)


@pytest.mark.parametrize(("loss", "disorder"), [(0.01, 0.0), (0.05, 0.0), (0.05, 0.05)])
@pytest.mark.parametrize(
    ("client", "options"),
    [
        (atftp, ("windowsize 8", "blksize 1468", "timeout 1")),
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
