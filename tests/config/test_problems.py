from __future__ import annotations

from netboot.config.problems import Bad, Place, Problem, report, shown


def test_a_problem_reads_place_key_what_remedy() -> None:
    """The form that editors can jump to."""
    assert str(Problem(Place("f.yaml", 3), "server.workers", "it is 0", "write 1")) == (
        "f.yaml:3: server.workers: it is 0; write 1"
    )
    assert (
        str(Problem(Place("f.yaml", 0), "", "it is not there", "make it"))
        == "f.yaml: it is not there; make it"
    )


def test_a_report_is_in_order_and_says_nothing_twice() -> None:
    """Files in the order they were named, lines in theirs."""
    first, second = Problem(Place("b", 9), "", "x", "y"), Problem(Place("a", 1), "", "x", "y")
    assert report([second, first, first], ["b", "a"]) == ("b:9: x; y", "a:1: x; y")


def test_a_shown_value_is_one_short_printable_line() -> None:
    """What an operator's file holds cannot break or colour the terminal that shows the message."""
    assert shown("a\x1b[31m\nb") == '"a\\x1b[31m\\nb"'
    assert shown("it's") == '"it\'s"'
    assert shown('say "hi"') == '"say "hi""'
    assert shown(True) == '"true"'
    assert shown(5) == '"5"'
    assert len(shown("x" * 1000)) < 70


def test_bad_says_what_and_remedy() -> None:
    """Both, where nobody takes them apart."""
    assert str(Bad("it is 0", "write 1")) == "it is 0; write 1"
