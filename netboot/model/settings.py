"""What a node is configured with: the settings of its tags, merged in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a node, keyed by `where` when settings merge."""

    what: str
    where: str
    type: str
    options: str = "defaults"


@dataclass(frozen=True, slots=True)
class Taint:
    """One Kubernetes taint, keyed by key and effect when settings merge."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        return f"{self.key}{value}:{self.effect}"


@dataclass(frozen=True, slots=True)
class File:
    """A file laid over the node's root; a secret one shows its content to nobody but the node."""

    content: str = field(repr=False)
    mode: int = 0o644
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit; `enable` starts it at this boot."""

    content: str
    enable: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one tag, or of a node once `merge` has put its tags together."""

    timezone: str | None = None
    root_password_hash: str | None = field(default=None, repr=False)
    debug_shell: bool | None = None
    network_script: str | None = None
    ssh_authorized_keys: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    kernel_parameters: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    taints: tuple[Taint, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    kubelet_args: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def merge(layers: Iterable[Settings]) -> Settings:
    """Put layers together, weakest first: all, cluster's tags, pool's, node's, the node's own settings.

    Later wins for scalars and for the same key of a map; lists append with equal elements kept once;
    mounts are keyed by `where`, taints by key and effect.
    """
    merged = Settings()
    for layer in layers:
        merged = _over(merged, layer)
    return merged


def _over(low: Settings, high: Settings) -> Settings:
    return Settings(
        timezone=_scalar(low.timezone, high.timezone),
        root_password_hash=_scalar(low.root_password_hash, high.root_password_hash),
        debug_shell=high.debug_shell if high.debug_shell is not None else low.debug_shell,
        network_script=_scalar(low.network_script, high.network_script),
        ssh_authorized_keys=_once(low.ssh_authorized_keys + high.ssh_authorized_keys),
        modules=_once(low.modules + high.modules),
        kernel_parameters=_once(low.kernel_parameters + high.kernel_parameters),
        mounts=tuple({m.where: m for m in low.mounts + high.mounts}.values()),
        taints=tuple({(t.key, t.effect): t for t in low.taints + high.taints}.values()),
        sysctls={**low.sysctls, **high.sysctls},
        labels={**low.labels, **high.labels},
        kubelet_args={**low.kubelet_args, **high.kubelet_args},
        files={**low.files, **high.files},
        units={**low.units, **high.units},
        hosts={**low.hosts, **high.hosts},
    )


def _scalar(low: str | None, high: str | None) -> str | None:
    return low if high is None else high


def _once(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
