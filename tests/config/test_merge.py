from __future__ import annotations

from netboot.config.merge import doubled, merged
from netboot.config.yaml_source import Map, read


def tree(text: str, file: str = "f.yaml") -> Map:
    result, problems = read(text.encode(), file)
    assert problems == []
    return result


def test_later_files_win_for_scalars() -> None:
    """A value of the second file replaces the first one's, null included."""
    both = merged(tree("a: 1\nb: 2\nc: 3\n"), tree("b: 5\nc:\n"))
    assert both == {"a": 1, "b": 5, "c": None}


def test_entries_of_the_same_name_and_equal_keys_are_merged() -> None:
    """Networks, clusters, pools and nodes are found by name, whatever their order."""
    low = tree("pools:\n- {name: a, x: 1, nodes: [{name: n1, address: 1}]}\n- {name: b}\n")
    high = tree("pools:\n- {name: c}\n- {name: a, y: 2, nodes: [{name: n2}, {name: n1, address: 2}]}\n")
    assert merged(low, high)["pools"] == [
        {"name": "a", "x": 1, "y": 2, "nodes": [{"name": "n1", "address": 2}, {"name": "n2"}]},
        {"name": "b"},
        {"name": "c"},
    ]


def test_lists_of_plain_values_append_and_say_an_equal_value_once() -> None:
    """A MAC that both files name is not named twice."""
    assert merged(tree("m: [a, b]\n"), tree("m: [b, c]\n"))["m"] == ["a", "b", "c"]
    assert merged(tree("m: [1]\n"), tree("m: ['1', true]\n"))["m"] == [1, "1", True]


def test_mounts_are_found_by_where() -> None:
    """The second file changes a mount's options without repeating the mount."""
    low = tree("mounts: [{what: tmpfs, where: /x}]\n")
    high = tree("mounts: [{where: /x, options: ro}]\n")
    assert merged(low, high)["mounts"] == [{"what": "tmpfs", "where": "/x", "options": "ro"}]


def test_a_value_of_another_form_replaces() -> None:
    """One range may replace a list of ranges, and the other way round."""
    assert merged(tree("r: [a, b]\n"), tree("r: c\n"))["r"] == "c"
    assert merged(tree("r: c\n"), tree("r: [a]\n"))["r"] == ["a"]


def test_merging_changes_neither_file_and_keeps_every_place() -> None:
    """Each value knows the file and line that it came from."""
    low, high = tree("a: {x: 1}\nl: [1]\n", "low"), tree("#\na: {y: 2}\nl: [2]\n", "high")
    both = merged(low, high)
    assert low == {"a": {"x": 1}, "l": [1]}
    assert high == {"a": {"y": 2}, "l": [2]}
    assert str(both["a"].at["x"]) == "low:1"
    assert str(both["a"].at["y"]) == "high:2"
    assert [str(place) for place in both["l"].at] == ["low:2", "high:3"]


def test_one_file_may_not_name_an_entry_twice() -> None:
    """Across files it is a merge, within one file it is a slip."""
    (problem,) = doubled(tree("clusters:\n- {name: a}\n- {name: a}\n"))
    assert "on line 2 and on line 3" in str(problem)
