"""What a machine boots: the one decision that DHCP, TFTP and HTTP share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from netboot.errors import ImageError
from netboot.model.image import Generation
from netboot.model.inventory import Assignment, NoMatch

MAX_PARAMETERS = 1024
"""Characters of kernel parameters at most: the kernel's own limit is 2048, the rest of the line is ours."""

_NOWHERE: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_WORD = re.compile(r"[!\"$-~][!-~]*")  # printable ASCII without blank; a word that begins with # is a comment


class Images(Protocol):
    """Where generations are looked up; `netboot.catalog.Catalog` is the one on disk."""

    def generation(self, reference: str) -> Generation:
        """The generation that an image reference means; raises ImageError."""


@dataclass(frozen=True, slots=True)
class BootPlan:
    """A machine boots this generation, as this node, with these parameters after our own."""

    assignment: Assignment
    generation: Generation
    kernel_parameters: tuple[str, ...]
    debug_shell: bool
    mirrors: tuple[str, ...] = ()
    """Base URLs that have the image's generations too; the node asks them first."""


@dataclass(frozen=True, slots=True)
class NoBoot:
    """A machine boots nothing from us: why, what an operator can do, and whether it should ask again."""

    reason: str
    remedy: str
    retry: bool
    """False: no image is meant for it, so it goes on to its local boot."""


def decide(
    assignment: Assignment | NoMatch, catalog: Images, mirrors: Mapping[str, tuple[str, ...]] = _NOWHERE
) -> BootPlan | NoBoot:
    """What this machine boots now. Never raises: an image that cannot be offered is a NoBoot.

    `mirrors`: each image's base URLs beside our own.
    """
    if isinstance(assignment, NoMatch):
        remedy = "declare it in a pool, or give its network a catch-all pool"
        return NoBoot(assignment.reason, remedy, retry=True)
    if assignment.image is None:
        remedy = f"give cluster {assignment.cluster.name}, the pool or the node an `image`"
        return NoBoot(f"{assignment.name} has no image", remedy, retry=False)
    try:
        generation = catalog.generation(assignment.image)
    except ImageError as error:
        remedy = "publish a sound generation under images_dir; this machine asks again by itself"
        return NoBoot(str(error), remedy, retry=True)
    return _with_parameters(assignment, generation, mirrors.get(generation.name, ()))


def _with_parameters(
    assignment: Assignment, generation: Generation, mirrors: tuple[str, ...]
) -> BootPlan | NoBoot:
    parameters = (*generation.kernel_parameters, *assignment.settings.kernel_parameters)
    for parameter in parameters:
        if not passable(parameter):
            remedy = "write it as one plain word without quotes, ${...}, || and &&"
            return NoBoot("a kernel parameter cannot be passed through a boot script", remedy, retry=True)
    if sum(len(parameter) + 1 for parameter in parameters) > MAX_PARAMETERS:
        remedy = f"keep them within {MAX_PARAMETERS} characters"
        return NoBoot("the kernel parameters are too long", remedy, retry=True)
    shell = bool(assignment.settings.debug_shell)
    return BootPlan(assignment, generation, parameters, shell, mirrors)


def passable(parameter: str) -> bool:
    """Whether iPXE hands this kernel parameter on as it stands (it expands `${}`, cuts at && and ||)."""
    return bool(_WORD.fullmatch(parameter)) and "${" not in parameter and parameter not in ("||", "&&", ";")
