from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.config.yaml_source import MAX_BYTES, Map, Place, Seq, read


def value_of(text: str) -> object:
    tree, problems = read(f"key: {text}\n".encode(), "f.yaml")
    assert problems == []
    return tree["key"]


@pytest.mark.parametrize(
    "text",
    [
        "52:54:00:12:34:56",
        "12:30",
        "0644",
        "0o644",
        "0x1f",
        "1.10",
        "1e3",
        "1_000",
        "no",
        "Yes",
        "on",
        "OFF",
        "True",
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "-0",
        "+1",
        ".inf",
        "y",
        "NULL",
        "99999999999999999999",
    ],
)
def test_a_plain_scalar_is_the_text_that_stands_there(text: str) -> None:
    """What YAML 1.1 reads as base 60, octal, a float, a boolean or a date stays the operator's text."""
    assert value_of(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80),
        ("-5", -5),
        ("0", 0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_only_the_plainest_scalars_have_a_type(text: str, value: object) -> None:
    """Decimal integers, true, false and null are what they look like."""
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize("text", ['"80"', "'true'", '""', "!!str 80", "! 80", "|\n  80"])
def test_a_quoted_scalar_is_always_text(text: str) -> None:
    """Quotes and the tag for strings keep a number from being one."""
    assert isinstance(value_of(text), str)


def test_every_value_keeps_its_file_and_line() -> None:
    """Keys and items know where they stand, also below others."""
    tree, _ = read(b"a: 1\nb:\n  - x\n  - c: 2\n", "f.yaml")
    assert tree.at == {"a": Place("f.yaml", 1), "b": Place("f.yaml", 2)}
    items = tree["b"]
    assert isinstance(items, Seq)
    assert [place.line for place in items.at] == [3, 4]
    entry = items[1]
    assert isinstance(entry, Map)
    assert entry.at["c"].line == 4


def test_a_doubled_key_is_told_with_both_lines_and_the_first_stays() -> None:
    """The reader never chooses silently between two values."""
    tree, problems = read(b"a: 1\nb: 2\na: 3\n", "f.yaml")
    assert [str(p) for p in problems] == [
        'f.yaml:3: the key "a" stands twice: on line 1 and on line 3; keep one of the two'
    ]
    assert tree["a"] == 1


def test_anchors_and_aliases_repeat_a_value() -> None:
    """An alias is the anchored value as a whole."""
    tree, problems = read(b"a: &x [1, 2]\nb: *x\n", "f.yaml")
    assert problems == []
    assert tree["b"] == [1, 2]


def test_nested_aliases_are_bounded() -> None:
    """Aliases of aliases that would be billions of values are refused at once."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    _, problems = read("\n".join(lines).encode(), "f.yaml")
    assert "aliases add more than" in str(problems[0])
    assert "f.yaml:6" in str(problems[0])


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_bottomless_nesting_is_refused(opening: str) -> None:
    """A hundred thousand open brackets are one problem, not a crash."""
    _, problems = read((opening * 100_000).encode(), "f.yaml")
    assert len(problems) == 1


def test_a_huge_file_is_refused_by_its_size() -> None:
    """A file beyond the bound is not even parsed."""
    _, problems = read(b"#" * (MAX_BYTES + 1), "f.yaml")
    assert "larger than 64 MiB" in str(problems[0])


def test_a_byte_order_mark_is_no_problem_and_latin_1_is() -> None:
    """UTF-8 is the encoding, with or without its mark; the line of the first wrong byte is named."""
    assert read("\ufeffa: ž\n".encode(), "f.yaml")[0]["a"] == "ž"
    _, problems = read("a: 1\nb: ž\n".encode("iso8859-2"), "f.yaml")
    assert str(problems[0]) == "f.yaml:2: the text is not UTF-8; save the file as UTF-8"


def test_a_syntax_error_never_quotes_the_text() -> None:
    """A line that cannot be parsed may be a password."""
    _, problems = read(b'root_password_hash: "hunter2\n  \\q"\n', "f.yaml")
    assert len(problems) == 1
    assert "hunter2" not in str(problems[0])


@pytest.mark.parametrize("value", ["!hunter2", "*hunter2", "&x [*hunter2]"])
def test_a_text_that_yaml_takes_for_a_tag_or_an_alias_is_not_repeated(value: str) -> None:
    """A password in clear may start with ! or *."""
    _, problems = read(f"root_password_hash: {value}\n".encode(), "f.yaml")
    assert problems
    assert "hunter2" not in "".join(map(str, problems))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_tree_or_problems(raw: bytes) -> None:
    """Whatever stands in a file, reading it ends with values."""
    tree, problems = read(raw, "f.yaml")
    assert isinstance(tree, Map)
    assert all(p.place.file == "f.yaml" for p in problems)


_SCALARS = st.one_of(st.integers(-(10**15), 10**15), st.booleans(), st.text(max_size=20))


@given(
    st.recursive(
        _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
    )
)
def test_what_json_says_is_read_back(value: object) -> None:
    """YAML 1.2 holds JSON; integers, booleans and texts come through unchanged."""
    tree, problems = read(json.dumps({"key": value}, ensure_ascii=True).encode(), "f.yaml")
    surrogates = any(0xD800 <= ord(c) <= 0xDFFF for c in str(value))
    if not problems and not surrogates:
        assert tree["key"] == value
