"""One thing that was looked at in a cluster, in an operator's words."""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("missing", "too much", "wrong", "note", "ok")


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` is one of STATES; `remedy` is the line to apply or what to do, empty for what is well."""

    state: str
    what: str
    remedy: str = ""

    @property
    def bad(self) -> bool:
        """Whether something has to be mended; a note need not be."""
        return self.state not in ("ok", "note")
