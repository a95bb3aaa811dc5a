"""The values that configure a node: what Kubernetes, the kernel and systemd let stand there.

Like `values`: each function returns the meaning or raises `Bad`. No message shows a password hash or the
content of a file.
"""

from __future__ import annotations

import base64
import binascii
import re
from itertools import pairwise

from netboot.boot import quirks
from netboot.config import values
from netboot.config.problems import Bad, Many, shown
from netboot.dhcp import options as dhcp
from netboot.model.inventory import Options, OptionValue
from netboot.model.settings import Taint

_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_OURS = {
    "node-labels": "write them as labels",
    "register-with-taints": "write them as taints",
    "hostname-override": "write the node's name",
    "container-runtime-endpoint": "write join.cri_socket",
    "kubeconfig": "leave it out: the join sets it",
    "bootstrap-kubeconfig": "leave it out: the join sets it",
}
_MODULE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SYSCTL = re.compile(r"[A-Za-z0-9_*-]+(?:[./][A-Za-z0-9_*:@-]+)+")
_ARGUMENT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,200}\.(?:service|socket|timer|mount|automount|path|target|slice|swap)"
)
_TIMEZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}")
_PREFLIGHT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,80}")
_PROGRAM = re.compile(r"(?:https?://)?[A-Za-z0-9][A-Za-z0-9._/@:+-]{0,120}")
_HASH = re.compile(r"\$[0-9a-z]{1,8}\$[^\s:*!\\]{8,200}|[*!]+")
_KEY_TYPES = re.compile(
    r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|sk-[a-z0-9-]+@openssh\.com)"
)
_MODE = re.compile(r"0o?[0-7]{3,4}")

module = values.matching(
    _MODULE, "a kernel module", "write its bare name; its parameters belong into a file of /etc/modprobe.d"
)
sysctl = values.matching(_SYSCTL, "a sysctl", "write one like net.ipv4.ip_forward")
unit = values.matching(_UNIT, "a systemd unit's name", "write one like hello.service")
timezone = values.matching(_TIMEZONE, "a time zone", "write one like Europe/Prague or UTC")
preflight = values.matching(_PREFLIGHT, "a preflight check", "write one like Swap, as kubeadm names it")
program = values.matching(_PROGRAM, "a boot program", "write a file's name like snponly.efi, or an http URL")


def quirk(value: object) -> str:
    """What a node's firmware needs, by the table of `netboot quirks`."""
    name = values.text(value)
    if name not in quirks.NAMES:
        remedy = f"write one of {', '.join(sorted(quirks.NAMES))}; `netboot quirks` says what each does"
        raise Bad(f"{shown(name)} is not a quirk that a node can name", remedy)
    return name


def label_key(value: object) -> str:
    """A label's key; whether a kubelet may set it is looked at with the clusters (`checks.labels`)."""
    return _qualified(value, "label")


def label_value(value: object) -> str:
    """A label's value: up to 63 letters, digits, dashes, underscores and dots, or nothing."""
    plain = values.text(value)
    if plain and not _QUALIFIED.fullmatch(plain):
        remedy = "use up to 63 letters, digits, dashes, underscores and dots, a letter or digit at both ends"
        raise Bad(f"{shown(plain)} is not a label's value", remedy)
    return plain


def _qualified(value: object, of: str) -> str:
    key = values.text(value)
    prefix, slash, rest = key.rpartition("/")
    if not _QUALIFIED.fullmatch(rest) or (slash and not _PREFIX.fullmatch(prefix)):
        remedy = "write NAME or DOMAIN/NAME; NAME has up to 63 letters, digits, dashes, underscores and dots"
        raise Bad(f"{shown(key)} is not a {of}'s key", remedy)
    return key


def taint(value: object) -> Taint:
    """A taint as `kubectl taint` writes it: KEY=VALUE:EFFECT or KEY:EFFECT."""
    plain = values.text(value)
    pair, colon, effect = plain.rpartition(":")
    if not colon or effect not in _EFFECTS:
        raise Bad(
            f"{shown(plain)} has no effect that Kubernetes knows",
            f"write KEY=VALUE:EFFECT with {', '.join(_EFFECTS)}",
        )
    key, _, of_key = pair.partition("=")
    return Taint(_qualified(key, "taint"), label_value(of_key), effect)


def kubelet_argument(value: object) -> str:
    """A kubelet's flag without its dashes, where it is not one that we write ourselves."""
    plain = values.text(value)
    if not _ARGUMENT.fullmatch(plain):
        raise Bad(
            f"{shown(plain)} is not a kubelet's argument",
            "write its name without dashes before it, like cgroup-driver",
        )
    if remedy := _OURS.get(plain):
        raise Bad(f"the argument {plain} is the appliance's own", remedy)
    return plain


def kubelet_value(value: object) -> str:
    """What a kubelet's flag is set to: a line without quotes, which its environment file cannot carry."""
    plain = values.text(value)
    if any(c in plain for c in "\"'\\\n\r\0`$") or " " in plain:
        raise Bad("the value holds blanks, quotes, `$` or a backslash", "write it without them")
    return plain


def kernel_parameter(value: object) -> str:
    """A word of the kernel's command line that a boot script can carry as it stands."""
    plain = values.text(value)
    if not re.fullmatch(r"[!-~]{1,512}", plain) or "${" in plain:
        raise Bad(
            f"{shown(plain)} is not one plain word",
            "write one list item per parameter, without blanks or `${`",
        )
    if plain.startswith(("netboot.", "initrd=", "BOOTIF=")):
        raise Bad(f"{shown(plain)} is the boot script's own", "leave it out")
    return plain


def ssh_key(value: object) -> str:
    """A line of authorized_keys: options, type, key in base64, comment. No message shows it."""
    if "PRIVATE KEY" in values.text(value):
        raise Bad("this is a private key", "write the public one, from the .pub file, and make a new pair")
    plain = values.line(value).strip()
    words = plain.split()
    for kind, key in pairwise(words):
        if _KEY_TYPES.fullmatch(kind) and _is_key(kind, key):
            return plain
    raise Bad("this is not a public key", "write a line of an OpenSSH .pub file")


def _is_key(kind: str, key: str) -> bool:
    """Whether the base64 text starts with its own type (RFC 4253 section 6.6)."""
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return False
    return (
        raw[4 : 4 + len(kind)] == kind.encode() and raw[:4] == len(kind).to_bytes(4, "big") and len(raw) > 36
    )


def password_hash(value: object) -> str:
    """A password's hash as /etc/shadow has it. The message never shows it: it may be the password."""
    plain = values.text(value)
    if not _HASH.fullmatch(plain):
        raise Bad("this is not a password's hash (crypt)", "write what `openssl passwd -6` prints, in quotes")
    return plain


def file_path(value: object) -> str:
    """Where a file lies on the node."""
    plain = str(values.path(value))
    if plain == "/" or values.text(value).endswith("/"):
        raise Bad(f"{shown(plain)} is a directory", "write the file's whole path")
    return plain


def content(value: object) -> str:
    """A file's or unit's text. No message shows it."""
    plain = values.text(value)
    if "\0" in plain:
        raise Bad("the content holds a NUL character", "write text only")
    return plain


def script(value: object) -> str:
    """A shell script's text."""
    return content(value)


def mode(value: object) -> int:
    """A file's mode, written as chmod takes it with its leading zero: 0644."""
    plain = values.text(value)
    if not _MODE.fullmatch(plain):
        raise Bad(f"{shown(plain)} is not a file's mode", "write it with its leading zero, like 0644")
    return int(plain.replace("o", ""), 8)


def sysctl_value(value: object) -> str:
    """What a sysctl is set to."""
    return values.line(value)


def mount_word(value: object) -> str:
    """A field of /etc/fstab: no blanks."""
    plain = values.line(value)
    if re.search(r"\s|#|\\", plain):
        raise Bad(
            f"{shown(plain)} holds blanks, `#` or a backslash", "write a field of /etc/fstab without them"
        )
    return plain


def mount_point(value: object) -> str:
    """Where something is mounted on the node."""
    plain = str(values.path(mount_word(value)))
    if plain == "/":
        raise Bad("the root itself is mounted by the image", "write a folder below /")
    return plain


def host_names(value: object) -> tuple[str, ...]:
    """One host name or a list of them, for /etc/hosts."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Bad("no host name stands here", "write at least one")
    return tuple(values.domain(item) for item in items)


def cri_socket(value: object) -> str:
    """The container runtime's socket."""
    plain = values.line(value)
    if not re.fullmatch(r"unix:///[^\s'\"]+", plain):
        raise Bad(
            f"{shown(plain)} is not a runtime's socket",
            "write one like unix:///run/containerd/containerd.sock",
        )
    return plain


class Cell(str):
    """A text from a CSV file: where it does not fit an option as it is, its words may be a list that does."""

    __slots__ = ()


def dhcp_options(value: object, *, boot: bool = False) -> Options:
    """DHCP options by code, good for their types; raises `Many` for all that are not.

    `boot`: those of the boot plan may stand here (a node's own).
    """
    if not isinstance(value, dict):
        raise Bad("it is not a mapping", "write `NAME: VALUE` for each option")
    found: dict[int, OptionValue] = {}
    wrong: list[tuple[str | int, Bad]] = []
    for key, of_key in value.items():
        try:
            code = _option_code(key, boot=boot)
            if code in found:
                raise Bad(
                    f"option {code} ({_name(code)}) stands twice, by name and by number",
                    "keep one of the two",
                )
            found[code] = _option_value(code, of_key)
        except Bad as bad:
            wrong.append((str(key), bad))
    if wrong:
        raise Many(wrong)
    return found


def _option_code(key: object, *, boot: bool) -> int:
    plain = values.text(key)
    try:
        code = dhcp.code_of(plain)
    except ValueError:
        raise Bad(f"{shown(plain)} is not a DHCP option", _nearest(plain)) from None
    if code in dhcp.PROTOCOL_CODES:
        raise Bad(
            f"option {code} ({_name(code)}) is computed by the protocol", _COMPUTED.get(code, "leave it out")
        )
    if code in dhcp.BOOT_CODES and not boot:
        remedy = "write it in a node's own options, or leave it out"
        raise Bad(f"option {code} ({_name(code)}) comes from the boot plan", remedy)
    return code


def _option_value(code: int, value: object) -> OptionValue:
    plain = tuple(_single(item) for item in value) if isinstance(value, list) else _single(value)
    try:
        dhcp.encode_value(code, plain)
    except ValueError:
        words = value.split() if isinstance(value, Cell) else []
        if len(words) > 1:
            return _option_value(code, words)
        option = dhcp.BY_CODE.get(code)
        wanted = option.wanted if option else 'a text, or bytes as "hex:..."'
        raise Bad(f"{_quoted(plain)} does not fit option {code} ({_name(code)})", f"write {wanted}") from None
    return plain


_COMPUTED = {
    12: "write the node's name",
    51: "write the network's lease",
    54: "write the network's address",
    58: "write the network's renew",
    59: "write the network's rebind",
    61: "leave it out: the client's own goes back to it",
    80: "leave it out: a client would take an offer for its lease",
    82: "leave it out: the relay agent's own goes back to it",
    97: "leave it out: the client's own goes back to it",
    118: "leave it out: the client's own goes back to it",
}


def _name(code: int) -> str:
    option = dhcp.BY_CODE.get(code)
    return option.name if option else "of no known name"


def _nearest(plain: str) -> str:
    by_name = "write IANA's name in lower case with hyphens, or the number (1 to 254)"
    return values.nearest(plain.lower(), dhcp.BY_NAME) or by_name


def _single(value: object) -> int | str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int) else values.text(value)


def _quoted(value: OptionValue) -> str:
    if not isinstance(value, tuple):
        return shown(value)
    return ", ".join(shown(item) for item in value) or "an empty list"
