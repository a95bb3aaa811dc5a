"""Whatever a YAML file can hold, and what a reader of values may make of it."""

from __future__ import annotations

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=30)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


def gives_a_value_or_bad(value: object, read: object) -> None:
    """Read it: a value, or ValueError, and nothing else."""
    assert callable(read)
    try:
        read(value)
    except ValueError:
        pass
