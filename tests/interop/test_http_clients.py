"""Strangers' HTTP clients at the bulk workers, and nginx's answers beside ours."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.interop.clients import digest, run
from tests.proc.house import House, house, make_image, make_served, until
from tests.support.certificates import authority
from tests.web.front import front

pytestmark = pytest.mark.root


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[House]:
    served = make_served(tmp_path)
    (tmp_path / "files" / "big").write_bytes(os.urandom(40 << 20))
    (tmp_path / "files" / "small").write_bytes(b"0123456789" * 100)
    async with house(served, workers=2) as running:
        yield running


@pytest.mark.parametrize(
    "command",
    [["curl", "-sSfo"], ["wget", "-qO"], ["busybox", "wget", "-qO"]],
    ids=["curl", "wget", "busybox"],
)
async def test_every_client_gets_a_big_file_whole(made: House, tmp_path: Path, command: list[str]) -> None:
    """40 MB, byte for byte."""
    got = tmp_path / "got"
    code, said = await run(*command, str(got), made.url("/files/big"))
    assert code == 0, said
    assert digest(got) == digest(tmp_path / "files" / "big")


@pytest.mark.parametrize(
    "command",
    [["curl", "-sSf", "-C", "-", "-o"], ["wget", "-qcO"], ["busybox", "wget", "-qcO"]],
    ids=["curl", "wget", "busybox"],
)
async def test_every_client_resumes_where_it_stopped(made: House, tmp_path: Path, command: list[str]) -> None:
    """Half a file on disk: only the rest is fetched, and progress begins at the offset."""
    source, got = tmp_path / "files" / "big", tmp_path / "got"
    half = 20 << 20
    with source.open("rb") as file:
        got.write_bytes(file.read(half))
    code, said = await run(*command, str(got), made.url("/files/big"))
    assert code == 0, said
    assert digest(got) == digest(source)
    await until(lambda: any(p.done for p in made.progress))
    assert all(p.sent >= half for p in made.progress)


async def test_a_download_survives_the_death_of_its_worker(made: House, tmp_path: Path) -> None:
    """curl with its own retry and resume: the worker is killed halfway, the file is whole all the same."""
    got = tmp_path / "got"
    downloading = asyncio.create_task(
        run(
            "curl",
            "-sS",
            "--limit-rate",
            "20M",
            "-C",
            "-",
            "--retry",
            "5",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            "-o",
            str(got),
            made.url("/files/big"),
        )
    )
    await until(lambda: got.exists() and got.stat().st_size > 5 << 20)
    os.kill(next(info.pid for info in made.supervisor.processes() if info.connections), signal.SIGKILL)
    code, said = await downloading
    if code != 0:  # curl 7.88 does not resume within its own retries: the node's script asks again, so do we
        code, said = await run("curl", "-sSf", "-C", "-", "-o", str(got), made.url("/files/big"))
    assert code == 0, said
    assert digest(got) == digest(tmp_path / "files" / "big")


async def test_two_machines_at_once_are_told_apart(made: House, tmp_path: Path) -> None:
    """Progress carries the boot of its own connection; each ends at the exact size."""
    generation = make_image(tmp_path / "images", {"root.squashfs": os.urandom(30 << 20)})
    url = made.url(f"/images/demo/{generation}/root.squashfs")
    await asyncio.gather(
        *(
            run(
                "curl",
                "-sSf",
                "--limit-rate",
                "15M",
                "-H",
                f"X-Boot: {boot}",
                "-o",
                str(tmp_path / boot),
                url,
            )
            for boot in ("b1", "b2")
        )
    )
    await until(lambda: sum(p.done for p in made.progress) == 2)
    for boot in ("b1", "b2"):
        values = [p.sent for p in made.progress if p.boot_id == boot]
        assert values == sorted(values)
        assert len(set(values)) >= 3
        assert values[-1] == 30 << 20
        assert digest(tmp_path / boot) == digest(
            Path(made.served.images_dir) / "demo" / generation / "root.squashfs"
        )


REQUESTS = [
    [],
    ["-I"],
    ["-r", "0-9"],
    ["-r", "-10"],
    ["-r", "990-"],
    ["-r", "1000-"],
    ["-H", 'If-Range: "other"', "-r", "0-9"],
    ["-H", "Connection: close"],
    ["-0"],
    ["-X", "DELETE"],
]


@pytest.mark.parametrize("options", REQUESTS, ids=" ".join)
async def test_our_answers_have_the_semantics_of_nginx(
    made: House, tmp_path: Path, options: list[str]
) -> None:
    """Status, length, range and body for the same request; both never chunk or encode a file."""
    port = free_port()
    async with nginx(tmp_path, port):
        answers = []
        for base in (f"http://127.0.0.1:{port}", made.url("")):
            body, head = tmp_path / "body", tmp_path / "head"
            body.unlink(missing_ok=True)
            target = f"{base}/files/small"
            code, said = await run(
                "curl", "-sS", "-m", "10", *options, "-D", str(head), "-o", str(body), target
            )
            assert code == 0, said
            answers.append(facts(head.read_text(), body.read_bytes() if body.exists() else b""))
    theirs, ours = answers
    assert ours == theirs


def facts(head: str, body: bytes) -> dict[str, object]:
    """What of an answer must not differ."""
    first, *lines = head.strip().split("\r\n")
    fields = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
    status = int(first.split()[1])
    served = status in (200, 206)
    return {
        "status": status,
        "length": fields.get("content-length") if served else None,
        "range": fields.get("content-range"),
        "body": body if served and body != b"" and not body.startswith(b"HTTP/") else None,
        "encoding": (fields.get("transfer-encoding"), fields.get("content-encoding")),
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class nginx:
    """nginx in front of the same files, for the length of a test."""

    def __init__(self, root: Path, port: int) -> None:
        self._root, self._port = root, port

    async def __aenter__(self) -> None:
        if shutil.which("nginx") is None:
            pytest.skip("nginx is not installed")
        config = self._root / "nginx.conf"
        config.write_text(
            f"daemon off; pid {self._root}/nginx.pid; error_log stderr; user root; events {{}}\n"
            f"http {{ access_log off; server {{ listen 127.0.0.1:{self._port}; root {self._root}; }} }}\n"
        )
        self._process = await asyncio.create_subprocess_exec(
            "nginx", "-c", str(config), stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await self._process.wait()


CA = authority()


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[tuple[House, str, Path]]:
    """Workers that end TLS, their URL, and the CA's file."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "big").write_bytes(os.urandom(24 << 20))
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    async with house(served, https=b"".join(CA.sign("127.0.0.1"))) as made, front(made):
        assert made.https is not None
        yield made, f"https://127.0.0.1:{made.https[1]}", tmp_path / "ca.pem"


PYTHON = (
    "import ssl, sys, urllib.request as u, shutil; "
    "shutil.copyfileobj(u.urlopen(sys.argv[3], context=ssl.create_default_context(cafile=sys.argv[1])), "
    "open(sys.argv[2], 'wb'))"
)


@pytest.mark.parametrize(
    "command",
    [
        ["curl", "-sSf", "--tlsv1.2", "--tls-max", "1.2", "--cacert", "CA", "-o", "TO", "URL"],
        ["curl", "-sSf", "--tlsv1.3", "--cacert", "CA", "-o", "TO", "URL"],
        ["curl", "-sSf", "--cacert", "CA", "-C", "-", "-o", "TO", "URL"],
        ["wget", "-q", "--ca-certificate=CA", "-O", "TO", "URL"],
        ["wget", "-qc", "--ca-certificate=CA", "-O", "TO", "URL"],
        [sys.executable, "-c", PYTHON, "CA", "TO", "URL"],
    ],
    ids=["curl 1.2", "curl 1.3", "curl resumes", "wget", "wget resumes", "python"],
)
async def test_clients_of_https_get_a_file_whole(
    secured: tuple[House, str, Path], tmp_path: Path, command: list[str]
) -> None:
    """TLS 1.2 and 1.3; where a client resumes, half of the file is there already."""
    made, url, ca = secured
    source, got = tmp_path / "files" / "big", tmp_path / "got"
    if resumes := "-C" in command or "-qc" in command:
        got.write_bytes(source.read_bytes()[: 12 << 20])
    values = {
        "CA": str(ca),
        "TO": str(got),
        "URL": f"{url}/files/big",
        "--ca-certificate=CA": f"--ca-certificate={ca}",
    }
    code, said = await run(*(values.get(word, word) for word in command))
    assert code == 0, said
    assert digest(got) == digest(source)
    await until(lambda: any(each.done for each in made.progress))
    assert made.progress[-1].sent == 24 << 20
    assert not resumes or all(each.sent >= 12 << 20 for each in made.progress)


@pytest.mark.parametrize(("version", "works"), [("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False)])
async def test_openssl_speaks_to_files_and_control_on_one_connection(
    secured: tuple[House, str, Path], tmp_path: Path, version: str, works: bool
) -> None:
    """A HEAD, a range, a script, a 404 over one connection of s_client; nothing older than TLS 1.2."""
    _, url, ca = secured
    requests = "".join(
        f"{line} HTTP/1.1\r\nHost: x\r\n{more}\r\n"
        for line, more in (
            ("HEAD /files/big", ""),
            ("GET /files/big", "Range: bytes=0-9\r\n"),
            ("GET /boot.ipxe", ""),
            ("GET /files/none", "Connection: close\r\n"),
        )
    )
    (tmp_path / "asked").write_text(requests, newline="")
    words = f"openssl s_client -quiet {version} -CAfile {ca} -verify_return_error -connect {url[8:]}"
    code, said = await run("sh", "-c", f"(cat {tmp_path / 'asked'}; sleep 1) | {words}")
    statuses = [int(status) for status in re.findall(r"HTTP/1.1 (\d+)", said)]
    assert (code == 0, statuses) == (works, [200, 206, 200, 404] if works else []), said[-2000:]
