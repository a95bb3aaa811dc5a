"""Boot scripts from `templates/`: only plain words go in, whatever the language of the script."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

_UNSAFE = re.compile(r"[^\x20-\x7e]|\$\{")


def fit(value: object) -> str:
    """A value as it goes into a script; ValueError where a loader would read more than one plain line."""
    text = str(value)
    if _UNSAFE.search(text):
        raise ValueError(f"{text[:60]!r} cannot stand in a boot script")
    return text


def templates(language: str, *names: str, **filters: Callable[[str], str]) -> Mapping[str, Template]:
    """The templates `NAME.LANGUAGE.j2` by name; whatever they print passes through `fit`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        finalize=fit,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # no HTML: `fit` is the escape
        auto_reload=False,
    )
    environment.filters.update(filters)
    # read now: the daemon may have given up the right to read its own files later
    return {name: environment.get_template(f"{name}.{language}.j2") for name in names}
