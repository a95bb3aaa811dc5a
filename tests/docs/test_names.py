"""The examples of docs/names.md: Corefiles that parse, with what CoreDNS's plugin `hosts` knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "names.md").read_text()
EXAMPLES = re.findall(r"<!-- corefile -->\n```\n(.*?)```", PAGE, re.DOTALL)

Block = list[tuple[list[str], "Block"]]
"""Lines of words, each with the lines in its braces."""

PLUGINS = {"hosts", "forward", "cache", "errors"}
OPTIONS = {
    "ttl": r"[1-9][0-9]*",
    "reload": r"[0-9]+(?:ms|s|m)",
    "fallthrough": r"(?:[a-z0-9.-]+(?: [a-z0-9.-]+)*)?",
    "no_reverse": "",
}
"""Options of the plugin `hosts` and what follows them (coredns.io/plugins/hosts)."""


def parsed(text: str) -> Block:
    """A Corefile: words; a block opens at the end of a line and closes on a line of its own."""
    stack: list[Block] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words == ["}"]:
            assert len(stack) > 1, f"line {number}: a brace closes that none opened"
            stack.pop()
        elif words:
            opens = words[-1] == "{"
            words = words[:-1] if opens else words
            assert words and not any("{" in word or "}" in word for word in words), f"line {number}"
            stack[-1].append((words, []))
            if opens:
                stack.append(stack[-1][-1][1])
    assert len(stack) == 1, "a brace is not closed"
    return stack[0]


def test_there_are_examples() -> None:
    """The tests below are not green for want of them."""
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_example_is_a_corefile_with_the_plugin_hosts(text: str) -> None:
    """One zone with its port, known plugins, known options, an absolute file."""
    ((zone, plugins),) = parsed(text)
    assert len(zone) == 1 and re.fullmatch(r"[a-z0-9.-]+:53", zone[0])
    assert {words[0] for words, _ in plugins} <= PLUGINS
    ((_, file), options) = next((w, o) for w, o in plugins if w[0] == "hosts")
    assert file.startswith("/")
    for words, below in options:
        assert not below and re.fullmatch(OPTIONS[words[0]], " ".join(words[1:]))


@pytest.mark.parametrize("text", ["a {\n b\n", "a {\n}\n}\n", "{\n}\n", "a { b }\n"])
def test_what_is_no_corefile_does_not_parse(text: str) -> None:
    """The parser above is worth something."""
    with pytest.raises(AssertionError):
        parsed(text)
