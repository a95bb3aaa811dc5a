"""What the client verbs share: reaching the API, and printing what it says as table, JSON or YAML.

Nothing heavy is imported before it is needed: a verb with `--server` and `--token-file` starts in no time.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import shutil
import ssl
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from netboot.cli import DEFAULT_CONFIG, Subparsers, add_config, config_paths
from netboot.errors import NetbootError
from netboot.model.access import COMMAND_LINE

Json = dict[str, Any]
Column = tuple[str, Callable[[Json], object]]

_MOMENTS = frozenset({"at", "started", "ended", "expires", "last_seen", "since", "until", "exhausted_since"})
"""Keys of the API whose values are seconds since the epoch."""

_NARROWEST = 20
"""Characters that a folded column keeps."""

TIMEOUT = 15.0
_MOST = 256 << 20


class ApiError(NetbootError):
    """The API said no; `status` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificate is believed; with neither file, those that this host's authorities signed."""

    ca: Path | None = None
    """Authorities, as PEM."""
    pinned: Path | None = None
    """The appliance's own certificate, read from its own disk: exactly that one."""

    def context(self) -> ssl.SSLContext:
        """What a connection is checked with. Raises NetbootError for a file of no use."""
        if self.ca is not None:
            try:
                return ssl.create_default_context(cafile=str(self.ca))
            except OSError as error:
                why = error.strerror if error.errno and error.strerror else "no certificate stands in it"
                raise NetbootError(
                    f"--ca {self.ca} cannot be used: {why}. Name a file of PEM certificates"
                ) from None
        try:
            leaf = self.pinned.read_text("ascii").partition(_END)[0] + _END if self.pinned else ""
            return _only(leaf) if leaf else ssl.create_default_context()
        except (OSError, UnicodeError):
            return ssl.create_default_context()  # not for our eyes: believe whom this host believes


SYSTEM = Trust()
_END = "-----END CERTIFICATE-----\n"


def _only(certificate: str) -> ssl.SSLContext:
    """A context that believes this very certificate, whatever it is called."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


@dataclass(frozen=True, slots=True)
class Client:
    """The API of one appliance."""

    server: str
    """http://HOST:PORT or https://HOST:PORT."""
    token_file: Path
    trust: Trust = SYSTEM

    def get(self, *path: str, **query: object) -> Json:
        """A document below /api/v1; raises ApiError for a refusal and NetbootError for no answer."""
        return self._request("GET", _target(path, query))

    def delete(self, *path: str, **query: object) -> Json:
        """Remove a thing; what it was. Raises as `get` does."""
        return self._request("DELETE", _target(path, query))

    def put(self, body: Json, *path: str) -> Json:
        """Have a thing be so; what came of it. Raises as `get` does."""
        return self._request("PUT", _target(path, {}), body)

    def post(self, body: Json, *path: str) -> Json:
        """Do a thing; what came of it. Raises as `get` does."""
        return self._request("POST", _target(path, {}), body)

    def items(self, *path: str, **query: object) -> list[Json]:
        """The items of a list."""
        return list(self.get(*path, **query)["items"])

    def _request(self, method: str, target: str, body: Json | None = None) -> Json:
        headers = {
            "Authorization": f"Bearer {_token(self.token_file)}",
            "Accept": "application/json",
            "User-Agent": COMMAND_LINE,
        }
        connection = _connection(self.server, self.trust)
        try:
            said = None if body is None else json.dumps(body)
            connection.request(method, target, said, headers)
            answer = connection.getresponse()
            text = answer.read(_MOST)
        except (OSError, http.client.HTTPException) as error:
            raise NetbootError(_unreached(self.server, error)) from None
        finally:
            connection.close()
        return self._document(answer.status, text)

    def _document(self, status: int, body: bytes) -> Json:
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ApiError(
                status, f"{self.server} answered {status}, but not in JSON: is that a netboot API?"
            )
        if status == 401:
            raise ApiError(status, f"{self.server} does not know the token in {self.token_file}")
        if status not in (200, 202):
            told = f"{document.get('reason', status)}. {document.get('remedy', '')}".strip()
            raise ApiError(status, printable(told))
        return document


def _unreached(server: str, error: Exception) -> str:
    """Why there was no answer, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return (
            f"{server} shows a certificate that is not believed: {why}. `--ca FILE` names the authority that "
            "signed it; the URL must hold a name or an address that it is good for"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"{server} does not speak TLS 1.2 or newer ({error.reason}). Without server.api.tls write http://"
        )
    words = (
        f"no answer from {server}: {error}. Is the daemon running (`systemctl status netboot`), "
        "and is this its `server.api.listen`? `--server URL` names another one"
    )
    plain = not server.startswith("https:") and isinstance(error, ConnectionError)
    return f"{words}; where it has server.api.tls write https://" if plain else words


def _target(path: Sequence[str], query: Mapping[str, object]) -> str:
    asked = {name: value for name, value in query.items() if value is not None}
    target = "/api/v1/" + "/".join(quote(part, safe="") for part in path)
    return target + ("?" + urlencode(asked) if asked else "")


def connect(args: argparse.Namespace) -> Client:
    """The client that the options ask for; raises NetbootError where the file does not tell."""
    ca = Trust(Path(args.ca)) if args.ca else None
    if args.server and args.token_file:
        return Client(args.server, Path(args.token_file), ca or SYSTEM)
    server, token_file, own = _configured(args)
    trust = ca or (SYSTEM if args.server else own)
    return Client(args.server or server, Path(args.token_file) if args.token_file else token_file, trust)


def _configured(args: argparse.Namespace) -> tuple[str, Path, Trust]:
    """URL, token file and certificate by the operator's file; its defaults where there is no file at all."""
    if not args.config and not Path(DEFAULT_CONFIG).exists():
        return "http://127.0.0.1:8443", Path("/var/lib/netboot/admin.token"), SYSTEM
    from netboot.config import examine  # pydantic takes longer than the whole request

    config = examine(config_paths(args)).config
    if config is None:
        raise NetbootError(
            f"{', '.join(config_paths(args))} is not accepted (`netboot check` says why): mend it, or give "
            "--server and --token-file"
        )
    api = config.api
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)
    shown = f"[{host}]" if ":" in host else host
    url = f"{'https' if api.tls else 'http'}://{shown}:{api.port}"
    own = Trust(pinned=api.tls.certificate) if api.tls else SYSTEM
    return url, config.server.data_dir / "admin.token", own


def _token(path: Path) -> str:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise NetbootError(
            f"the token file {path} cannot be read: {why}. The first start of `netboot serve` makes it; only "
            "root and the appliance's user may read it. `--token-file FILE` names another one"
        ) from None
    if not token or not token.isprintable() or " " in token:
        raise NetbootError(f"{path} holds no token")
    return token


def _connection(server: str, trust: Trust) -> http.client.HTTPConnection:
    try:
        url = urlsplit(server if "//" in server else f"http://{server}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or url.scheme not in ("http", "https"):
        raise NetbootError(f"{server!r} is no server: write http://HOST:PORT or https://HOST:PORT")
    if url.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=trust.context())
    return http.client.HTTPConnection(host, port or 80, timeout=TIMEOUT)


# The parsers


def add_noun(verbs: Subparsers, noun: str, text: str) -> Any:
    """The parser of a noun; returns what its own verbs are added to."""
    parser = verbs.add_parser(noun, help=text, description=text)
    return parser.add_subparsers(metavar="VERB", required=True)


def add_verb(
    noun: Any, verb: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """One verb of a noun, with the options that all of them have."""
    parser: argparse.ArgumentParser = noun.add_parser(verb, help=text, description=text)
    parser.add_argument("--server", metavar="URL", help="the API (default: server.api.listen of the file)")
    parser.add_argument("--token-file", metavar="FILE", help="default: admin.token in the file's data_dir")
    parser.add_argument(
        "--ca", metavar="FILE", help="who signed the API's certificate (default: what this host believes)"
    )
    add_config(parser)
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    parser.set_defaults(run=run)
    return parser


def register_noun(verbs: Subparsers, noun: str, text: str, columns: Sequence[Column]) -> None:
    """A noun that only has `list` and `show NAME`, printed by the same columns."""
    path = noun + "s"

    def listing(args: argparse.Namespace) -> int:
        return print_items(connect(args).items(path), columns, args.output)

    def show(args: argparse.Namespace) -> int:
        return print_item(connect(args).get(path, args.name), args.output)

    parser = add_noun(verbs, noun, text)
    add_verb(parser, "list", f"list the {path}", listing)
    add_verb(parser, "show", f"show one {noun}", show).add_argument("name", metavar="NAME")


# Printing


def print_items(items: Sequence[Json], columns: Sequence[Column], output: str) -> int:
    """A list in the wanted form."""
    if output != "table":
        return _print_data(list(items), output)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(table(items, columns, width))
    return 0


def print_item(item: Json, output: str, draw: Callable[[Json], str] | None = None) -> int:
    """One thing in the wanted form; as text one `key  value` line per key, or what `draw` makes of it."""
    if output != "table":
        return _print_data(item, output)
    print(draw(item) if draw else facts(item))
    return 0


def _print_data(data: object, output: str) -> int:
    if output == "json":
        print(json.dumps(data, indent=2))
    else:
        import yaml  # not needed by anybody who reads tables

        print(yaml.safe_dump(data, sort_keys=False), end="")
    return 0


def table(items: Sequence[Json], columns: Sequence[Column], width: int | None = None) -> str:
    """Columns as wide as their widest cell, under a head line; folded into `width` characters."""
    rows = [[head.upper() for head, _ in columns]]
    rows += [[cell(value(item)) for _, value in columns] for item in items]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    if width is None:
        return "\n".join(_line(row, widths) for row in rows)
    _narrow(widths, width - 2 * (len(widths) - 1))
    return "\n".join(line for row in rows for line in _folded(row, widths))


def _narrow(widths: list[int], room: int) -> None:
    """Take from the widest columns until all fit, but leave each what a MAC or a name needs."""
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1


def _folded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    cells = [
        textwrap.wrap(text, width, break_on_hyphens=False) for text, width in zip(row, widths, strict=True)
    ]
    for parts in itertools.zip_longest(*cells, fillvalue=""):
        yield _line(parts, widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()


def facts(item: Mapping[str, object]) -> str:
    """`key  value` lines; what is nested stands indented below its key."""
    width = max(map(len, item), default=0)
    lines = []
    for key, value in item.items():
        if isinstance(value, dict):
            lines += [key, *(f"  {line}" for line in facts(value).splitlines())]
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            lines += [key, *(f"  {_words(each)}" for each in value)]
        else:
            lines.append(f"{key.ljust(width)}  {_fact(key, value)}".rstrip())
    return "\n".join(lines)


def _words(item: Mapping[str, object]) -> str:
    """What an entry of a list says, in one line."""
    return "  ".join(_fact(key, value) for key, value in item.items() if value not in (None, "", []))


def _fact(key: str, value: object) -> str:
    return moment(value) if key in _MOMENTS and isinstance(value, (int, float)) else cell(value)


def cell(value: object) -> str:
    """A value as one printable line."""
    if value is None or value == [] or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(cell, value))
    return printable(str(value))


def printable(text: str) -> str:
    """`text` without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def moment(value: float | None) -> str:
    """A time of the API in this host's own time zone."""
    return "-" if value is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))


def duration(seconds: float) -> str:
    """`12.3 s`, `4 min 5 s` or `3 h 20 min`."""
    whole = max(0.0, seconds)
    if whole < 60:
        return f"{whole:.1f} s"
    minutes = int(whole) // 60
    return f"{minutes} min {int(whole) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Bytes as KiB or MiB."""
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def fancy() -> bool:
    """Whether standard output can show more than ASCII."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
