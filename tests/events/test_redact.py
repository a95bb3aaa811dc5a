"""Text that is fit for a log, a page and a database."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from netboot.events import TEXT_LIMIT, LogFormatter, clean, configure_logging, redact

KEY = "0123456789abcdef0123456789abcdef"
SESSION = "6b010afbc360c97e.hqTl1PwmJvwyK-V9UCYMLxZAjFhDSbuYmxbvBlZSKgw"
HASH = "$6$exampleexample$I0tbDFnPmwOiz5XKoN8c4z0cAH8bEktWoVWQ80oMp9XqUMyZmnjaKvOhJ4jfjAbL75WwmhMJRDwDM7gD9J"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx1\nabc/def+\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("token abcdef.0123456789abcdef was refused", "token abcdef.<redacted> was refused"),
        (f"GET /boot/{KEY}/seed.cpio 200", "GET /boot/012345.../seed.cpio 200"),
        ("Authorization: Bearer abc.DEF-123", "Authorization: Bearer <redacted>"),
        (f"root:{HASH}:19000", "root:$6$<redacted>:19000"),
        (f"wrote {PEM} there", "wrote <redacted> there"),
        (f"wrote {PEM[:60]}", "wrote <redacted>"),
        (f"session is {SESSION}", "session is 6b010afbc360c97e.<redacted>"),
        ('{"session": "abcdefghijklmnop", "node": "n1"}', '{"session": "<redacted>", "node": "n1"}'),
        (
            '{\\"tlsBootstrapToken\\": \\"abcdef-ghijklmnopqr\\"}',
            '{\\"tlsBootstrapToken\\": \\"<redacted>\\"}',
        ),
        (f'"certificateKey": "{"ab" * 32}"', '"certificateKey": "<redacted>"'),
        ("kubeadm join 10.0.0.1:6443 --token abcdef", "kubeadm join 10.0.0.1:6443 --token <redacted>"),
        ("TfHkTVQUmJYl3ySW7RZhc1ZGdUXlbMXRHK4pBm3dJwk", "<redacted>"),
    ],
)
def test_secrets_are_known_by_their_form(text: str, left: str) -> None:
    """A token keeps its id and a boot key its first digits; of all else nothing is left."""
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        'could not find a JWS signature in the cluster-info ConfigMap for token ID "abcdef"',
        "/images/debian-12/" + "a1" * 32 + "/vmlinuz",
        "4c4c4544-0042-3510-8054-b4c04f564232",
        "kubelet.service: Failed with result 'exit-code'",
        "52:54:00:12:34:56 has 10.28.36.173 until 2026-11-21T03:04:38.248Z",
        "sha256:" + "0f" * 32,
        "[ERROR FileContent--proc-sys-net-bridge-bridge-nf-call-iptables]: does not exist",
        "[ERROR FileAvailable--etc-kubernetes-bootstrap-kubelet.conf]: already exists",
    ],
)
def test_what_an_operator_needs_is_left_alone(text: str) -> None:
    """Digests, UUIDs, addresses and error texts are no secrets."""
    assert redact(text) == text


def test_control_characters_are_escaped() -> None:
    """No line break, escape sequence or direction mark of a node's text reaches a log or a terminal."""
    assert clean("one\ntwo\x1b[31m\u202ethree\ud800") == "one\\ntwo\\x1b[31m\\u202ethree\\ud800"


def test_text_is_cut_and_never_inside_a_secret() -> None:
    """A secret that straddles the cut leaves no half of itself."""
    assert len(clean("x" * 50_000 + " y")) <= TEXT_LIMIT
    for shift in range(40):
        text = " " * (16384 - shift) + "abcdef.0123456789abcdef"
        assert "0123456" not in clean(text, 20_000)


def test_the_log_is_one_redacted_line_per_event() -> None:
    """ISO time in UTC, level, text; a traceback stands escaped in its line."""
    try:
        raise ValueError("secret abcdef.0123456789abcdef\nsecond line")
    except ValueError:
        record = logging.LogRecord("netboot", logging.ERROR, "f", 1, "failed at %s", ("n1",), sys.exc_info())
    record.created = 1_700_000_000.25
    text = LogFormatter().format(record)
    assert text.startswith("2023-11-14T22:13:20.250Z error failed at n1 | Traceback")
    assert "\n" not in text and "0123456789abcdef" not in text


def test_every_logger_goes_through_the_formatter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries too: what they log is redacted and named."""
    stream, root = io.StringIO(), logging.getLogger()
    kept, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    try:
        configure_logging()
        logging.getLogger("some.library").warning("Bearer 0123456789abcdef")
    finally:
        root.handlers[:] = kept
        root.setLevel(level)
    assert stream.getvalue().endswith("Z warning some.library: Bearer <redacted>\n")
