"""What the client verbs share: finding the API, saying what is wrong, printing."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netboot.cli import client, main
from netboot.cli.client import Client, Column, Json, cell, connect, duration, facts, moment, size, table
from netboot.config.tls import Certificate
from netboot.errors import NetbootError
from tests.cli.conftest import Verb
from tests.support.certificates import Authority, authority
from tests.web.api.world import Running, World, running

CONFIG = """
server:
  data_dir: {folder}
  api: {{listen: "127.0.0.1:{port}"}}
networks:
  - {{name: compute, subnet: 10.0.0.0/24, interface: eth1, address: 10.0.0.1}}
"""


def failure(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a verb that must fail said."""
    assert main([*words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_address_and_token_come_from_the_operators_file(
    api: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`listen` and `data_dir` of --config are all that is needed."""
    file = tmp_path / "netboot.yaml"
    file.write_text(CONFIG.format(folder=tmp_path, port=api.url.rpartition(":")[2]))
    assert main(["boot", "list", "--config", str(file)]) == 0
    assert "network_script" in capsys.readouterr().out


def test_a_refused_file_is_said_with_the_way_around(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` tells why; --server and --token-file need no file."""
    file = tmp_path / "netboot.yaml"
    file.write_text("nonsense: 1\n")
    text = failure("boot", "list", "--config", str(file), capsys=capsys)
    assert "netboot check" in text and "--server" in text


def test_without_any_file_the_defaults_are_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """127.0.0.1:8443 and /var/lib/netboot."""
    monkeypatch.setattr(client, "DEFAULT_CONFIG", str(tmp_path / "none"))
    found = connect(argparse.Namespace(server=None, token_file=None, ca=None, config=None))
    assert found == Client("http://127.0.0.1:8443", Path("/var/lib/netboot/admin.token"))


def test_a_daemon_that_does_not_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No answer, where it was looked for, and what to do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        (tmp_path / "token").write_text("x" * 40)
        text = failure(
            "boot", "list", "--server", url, "--token-file", str(tmp_path / "token"), capsys=capsys
        )
    assert f"no answer from {url}" in text and "systemctl status netboot" in text


@pytest.mark.parametrize("content", [None, "", "two words", "a\nb", "\xff"])
def test_a_token_that_cannot_be_used_is_said(
    api: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """Missing, empty, or no token at all; nothing is sent."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    text = failure("boot", "list", "--server", api.url, "--token-file", str(path), capsys=capsys)
    assert str(path) in text and not api.world.journal.counters["api_unauthorized"]


def test_an_unknown_token_is_said(api: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which file it came from; the token itself is not shown."""
    path = tmp_path / "wrong"
    path.write_text("w" * 40)
    text = failure("boot", "list", "--server", api.url, "--token-file", str(path), capsys=capsys)
    assert "does not know the token in" in text and "w" * 40 not in text


@pytest.mark.parametrize("server", ["ftp://x", "http://", "http://x:port", "//"])
def test_a_server_that_is_none_is_said(
    verb: Verb, server: str, api: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the form that is meant."""
    words = ("boot", "list", "--server", server, "--token-file", str(api.token_file))
    assert "http://HOST:PORT" in failure(*words, capsys=capsys)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b""]
)
def test_a_stranger_on_that_port_is_said(
    api: Running, capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    """Something else listens there: no stack trace."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        text = failure("boot", "list", "--server", url, "--token-file", str(api.token_file), capsys=capsys)
        thread.join(20)
    assert url in text


def test_names_with_odd_characters_stay_in_their_place(verb: Verb) -> None:
    """A slash in a name reaches the server as part of the name."""
    assert "there is no such machine" in verb("node", "show", "../boots", status=1)
    assert "there is no such machine" in verb("node", "show", "a b?c#d", status=1)


def test_client_verbs_import_nothing_heavy(api: Running) -> None:
    """They start fast: no aiohttp, no pydantic, no YAML."""
    script = (
        "import sys; from netboot.cli import main; status = main(sys.argv[1:]); "
        "print(status, sorted({'aiohttp', 'pydantic', 'yaml', 'asyncio'} & set(sys.modules)))"
    )
    words = ["boot", "list", "--server", api.url, "--token-file", str(api.token_file)]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_table_is_as_wide_as_its_cells() -> None:
    """Heads in capitals, no blanks at line ends."""
    text = table([{"a": "long value", "b": None}], [("a", lambda x: x["a"]), ("b", lambda x: x["b"])])
    assert text == "A           B\nlong value  -"


def test_values_are_written_for_people() -> None:
    """Cells, durations and sizes."""
    assert [cell(v) for v in (None, [], "", True, ["a", 1], "x\ny")] == ["-", "-", "-", "yes", "a,1", r"x\ny"]
    assert [duration(s) for s in (-1, 5.04, 65, 7260)] == ["0.0 s", "5.0 s", "1 min 5 s", "2 h 1 min"]
    assert [size(n) for n in (512, 5 << 20)] == ["0.5 KiB", "5.0 MiB"]
    assert facts({"a": 1, "long": {"b": None}}) == "a     1\nlong\n  b  -"


def test_no_answer_is_an_error_of_ours(tmp_path: Path) -> None:
    """For who uses the client as a library."""
    (tmp_path / "token").write_text("x" * 40)
    with pytest.raises(NetbootError):
        Client("http://127.0.0.1:1", tmp_path / "token").items("boots")


def test_a_table_is_folded_where_the_terminal_is_narrow() -> None:
    """The widest columns give way, nothing is lost, and a pipe gets one line per row."""
    rows: list[Json] = [{"mac": "52:54:00:12:34:56", "note": "declined by somebody " * 5}]
    columns: tuple[Column, ...] = (("mac", lambda x: x["mac"]), ("note", lambda x: x["note"]))
    assert len(table(rows, columns).splitlines()) == 2
    folded = table(rows, columns, 60).splitlines()
    assert max(map(len, folded)) <= 60 and folded[1].startswith("52:54:00:12:34:56  declined")
    assert " ".join(" ".join(folded).split()).count("declined by somebody") == 5


def test_a_thing_is_shown_with_times_and_lists_for_people() -> None:
    """Seconds since the epoch as a date, one entry of a list on each line."""
    shown = facts({"expires": 1_000_000.5, "steps": [{"step": "ack", "at": 1_000_000.0, "of": None}]})
    assert "1000000" not in shown and shown.count(moment(1_000_000.0)) == 2
    assert shown.splitlines()[2].startswith("  ack  ")


# HTTPS


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[tuple[Running, Authority]]:
    """The API with a certificate for localhost's address, and who signed it."""
    signer = authority()
    files = signer.write(tmp_path, "127.0.0.1")
    context = Certificate(files["certificate"], files["key"]).context()
    with running(World(tmp_path), tmp_path, context) as served:
        yield served, signer


def test_the_own_certificate_is_believed_from_its_own_disk(
    signed: tuple[Running, Authority], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--config` is enough where the daemon runs; another certificate is not believed for that."""
    port = signed[0].url.rpartition(":")[2]
    tls = "tls: {certificate: FOLDER/certificate.pem, key: FOLDER/key.pem}".replace("FOLDER", str(tmp_path))
    text = CONFIG.format(folder=tmp_path, port=port).replace(f':{port}"', f':{port}", {tls}')
    (tmp_path / "netboot.yaml").write_text(text)
    words = ["token", "show", "--config", str(tmp_path / "netboot.yaml")]
    assert main(words) == 0
    assert "admin" in capsys.readouterr().out
    (tmp_path / "certificate.pem").write_bytes(authority().sign("127.0.0.1")[0])
    assert "not believed" in failure(*words, capsys=capsys)


def test_an_unknown_authority_is_said_with_the_option_that_names_it(
    signed: tuple[Running, Authority], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--ca FILE opens; a name that the certificate does not have does not."""
    api, _ = signed
    words = ["token", "show", "--token-file", str(api.token_file), "--server"]
    assert "--ca FILE" in failure(*words, api.url, capsys=capsys)
    ca = ["--ca", str(tmp_path / "ca.pem")]
    assert main([*words, api.url, *ca]) == 0
    assert "admin" in capsys.readouterr().out
    elsewhere = api.url.replace("127.0.0.1", "localhost")
    assert "is good for" in failure(*words, elsewhere, *ca, capsys=capsys)
    assert "--ca" in failure(*words, api.url, "--ca", str(tmp_path / "none"), capsys=capsys)
    assert "no certificate" in failure(*words, api.url, "--ca", str(api.token_file), capsys=capsys)


def test_plain_http_and_https_that_meet_are_told_apart(
    signed: tuple[Running, Authority], api: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each message says what to write instead."""
    words = ["token", "show", "--token-file", str(api.token_file), "--server"]
    plain = failure(*words, signed[0].url.replace("https", "http"), capsys=capsys)
    assert "write https://" in plain
    assert "write http://" in failure(*words, api.url.replace("http", "https"), capsys=capsys)
