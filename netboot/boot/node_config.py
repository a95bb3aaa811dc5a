"""What a node is configured with: the tar that its agent unpacks and applies, made of settings and the join.

Pure and deterministic: the same assignment and join material give the same bytes. Every value is written in
the quoting of the format it goes into; what a format cannot carry raises ConfigError and nothing is made.
The reader is `images/agent/agent.sh`; the members are listed in docs/booting.md.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from posixpath import normpath

from netboot.boot.hosts import Host
from netboot.errors import ConfigError
from netboot.model.inventory import Assignment
from netboot.model.kubelet import command_line, kubelet_flags
from netboot.model.settings import Mount, Settings

Member = tuple[bytes, int]
"""Content and mode of one file of the tar."""

_SECRET = 0o600
_PLAIN = 0o644
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MODULE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SYSCTL = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_*:@./-]{0,253}")
_UNIT = re.compile(
    r"[A-Za-z0-9:_\\@][A-Za-z0-9:_.\\@-]{0,199}\.(?:service|socket|timer|mount|automount|path|target|slice|swap)"
)
_TIMEZONE = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def configuration(
    assignment: Assignment, *, server: str, join: Mapping[str, Member], neighbours: Iterable[Host] = ()
) -> bytes:
    """The uncompressed ustar of one node.

    `server` is the appliance's base URL; `join` is the join's own members by their names below `netboot/`
    (`join/method` is required); `neighbours` go into /etc/hosts after what the settings say. Raises
    ConfigError naming the setting that cannot be written.
    """
    if "join/method" not in join:
        raise ConfigError(["the join material names no method"])
    settings = assignment.settings
    members = dict(_members(assignment, settings, server, neighbours))
    members.update({f"root{path}": member for path, member in _files(settings)})
    members.update(join)
    return _tar(members)


def _members(
    assignment: Assignment, settings: Settings, server: str, neighbours: Iterable[Host]
) -> Iterator[tuple[str, Member]]:
    yield "hostname", _lines([_checked(_NAME, assignment.name, "the host name")])
    if settings.timezone:
        yield "timezone", _lines([_checked(_TIMEZONE, settings.timezone, "timezone")])
    if settings.root_password_hash:
        yield "root_password_hash", _lines([_line(settings.root_password_hash, "a hash")], _SECRET)
    rows = (
        ("authorized_keys", [_line(k, "ssh_authorized_keys") for k in settings.ssh_authorized_keys], _SECRET),
        ("hosts", [*_hosts(settings.hosts), *map(str, neighbours)], _PLAIN),
        ("sysctl.conf", list(_sysctls(settings.sysctls)), _PLAIN),
        ("modules", [_checked(_MODULE, module, "modules") for module in settings.modules], _PLAIN),
        ("fstab", [fstab_line(mount) for mount in settings.mounts], _PLAIN),
        ("units", [name for name, unit in sorted(settings.units.items()) if unit.enable], _PLAIN),
        ("kernel_parameters", [_line(w, "kernel_parameters") for w in settings.kernel_parameters], _PLAIN),
    )
    yield from ((name, _lines(lines, mode)) for name, lines, mode in rows if lines)
    if settings.network_script is not None:
        yield "network.sh", (_text(settings.network_script, "network_script"), 0o700)
    yield "network.env", _lines(_environment(assignment, server))
    # kubeadm.yaml carries them itself; here they wait for whoever joins such a machine by hand
    if assignment.cluster.join.method == "none" and (arguments := kubelet_arguments(settings)):
        yield "kubelet.env", _lines([f"KUBELET_EXTRA_ARGS={shell_quoted(arguments)}"])


def _environment(assignment: Assignment, server: str) -> Iterator[str]:
    """What network.sh may rely on beside what only the machine knows (design: Kubefarm's names)."""
    network = assignment.network
    dns = [str(address) for address in network.dns]
    domain = network.domain or ""
    values = {
        "HOSTNAME": assignment.name,
        "SERVER": server.removeprefix("http://").partition(":")[0],
        "DNS_SERVER": " ".join(dns),
        "SEARCH_DOMAIN": domain,
        "IPCONFIG_HOSTNAME": assignment.name,
        "IPCONFIG_DNSDOMAIN": domain,
        "IPCONFIG_DOMAINSEARCH": domain,
        **{f"IPCONFIG_IPV4DNS{n}": address for n, address in enumerate([*dns, "", ""][: max(2, len(dns))])},
        "NETBOOT_SERVER": server,
        "NETBOOT_CLUSTER": assignment.cluster.name,
        "NETBOOT_POOL": assignment.pool.name,
        "NETBOOT_NETWORK": network.name,
        "NETBOOT_IMAGE": assignment.image or "",
    }
    return (variable(name, value) for name, value in values.items())


def kubelet_arguments(settings: Settings) -> str:
    """The kubelet's extra arguments as systemd splits them: labels, taints, the operator's own."""
    return command_line(kubelet_flags(settings.labels, settings.taints, settings.kubelet_args))


def shell_quoted(value: str) -> str:
    """A value in single quotes as sh and systemd read it; raises ConfigError for control characters."""
    return "'" + _line(value, "a value").replace("'", "'\\''") + "'"


def variable(name: str, value: str) -> str:
    """A line NAME='VALUE' that sh reads with `.`."""
    return f"{_checked(_VARIABLE, name, 'a variable')}={shell_quoted(value)}"


def fstab_line(mount: Mount) -> str:
    """One mount as fstab(5) writes it: blanks, tabs, backslashes and # in octal."""
    where = absolute(mount.where, "mounts")
    return " ".join(map(_fstab_field, (mount.what, where, mount.type, mount.options or "defaults"))) + " 0 0"


def _fstab_field(field: str) -> str:
    if not field:
        raise ConfigError(["mounts: an empty field; write what, where and type"])
    text = _line(field, "mounts")
    return "".join(f"\\{ord(c):03o}" if c in " \\#" else c for c in text)


def absolute(path: str, key: str) -> str:
    """A path made plain: absolute, without dots that lead anywhere; raises ConfigError."""
    parts = path.split("/")
    plain = normpath("/" + "/".join(part for part in parts if part))
    if not path.startswith("/") or ".." in parts or _CONTROL.search(path) or plain == "/":
        raise ConfigError([f"{key}: {path!r} is not an absolute path without `..`"])
    return plain


def _hosts(hosts: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for address, names in hosts.items():
        if not re.fullmatch(r"[0-9A-Fa-f:.]{2,45}", address):
            raise ConfigError([f"hosts: {address!r} is not an IP address"])
        yield " ".join([address, *(_checked(_NAME, name, "hosts") for name in names)])


def _sysctls(sysctls: Mapping[str, str]) -> Iterator[str]:
    for key, value in sysctls.items():
        yield f"{_checked(_SYSCTL, key, 'sysctls')} = {_line(value, 'sysctls')}"


def _files(settings: Settings) -> Iterator[tuple[str, Member]]:
    for path, file in settings.files.items():
        yield absolute(path, "files"), (_text(file.content, f"files: {path}"), file.mode & 0o7777)
    for name, unit in settings.units.items():
        where = f"/etc/systemd/system/{_checked(_UNIT, name, 'units')}"
        yield where, (_text(unit.content, f"units: {name}"), _PLAIN)


def _checked(pattern: re.Pattern[str], value: str, key: str) -> str:
    if not pattern.fullmatch(value):
        raise ConfigError([f"{key}: {value[:80]!r} cannot be written into the node's configuration"])
    return value


def _line(value: str, key: str) -> str:
    """One line of text; its value is not shown where it cannot be, it may be a secret."""
    if _CONTROL.search(value):
        raise ConfigError([f"{key}: a value holds a line end or a control character"])
    return value


def _text(value: str, key: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ConfigError([f"{key}: the text is not valid Unicode"]) from None


def _lines(lines: Iterable[str], mode: int = _PLAIN) -> Member:
    return "".join(f"{line}\n" for line in lines).encode(), mode


def _tar(members: Mapping[str, Member]) -> bytes:
    """A ustar of regular files, sorted, owned by root, dated 1970: nothing of this host shows in it."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (content, mode) in sorted(members.items()):
            info = tarfile.TarInfo(f"netboot/{name}")
            info.size, info.mode = len(content), mode
            try:
                tar.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeError):
                raise ConfigError([f"files: the path {name[:120]!r} is too long for a tar"]) from None
    return raw.getvalue()
