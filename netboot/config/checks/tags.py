"""What `tags` say."""

from __future__ import annotations

from collections.abc import Iterator

from netboot.config.checks.facts import Facts
from netboot.config.problems import Problem


def units(facts: Facts) -> Iterator[Problem]:
    """Files and units that one tag would write to the same place."""
    for name, tag in facts.root.tags.items():
        for unit in tag.units:
            path = f"/etc/systemd/system/{unit}"
            if path in tag.files:
                what = f"the unit {unit} is written by units too"
                yield facts.problem(("tags", name, "files", path), what, "keep one of the two")
