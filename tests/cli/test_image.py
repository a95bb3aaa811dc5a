"""`netboot image list|show`."""

from __future__ import annotations

from tests.cli.conftest import Verb


def test_images_are_listed_with_their_generation(verb: Verb) -> None:
    """The first digits of the latest, and how many there are."""
    head, line = verb("image", "list").splitlines()
    assert head.split()[:3] == ["NAME", "GENERATION", "GENERATIONS"]
    assert line.split()[0] == "debian-12" and len(line.split()[1]) == 12 and line.split()[2] == "1"


def test_an_image_is_shown_whole(verb: Verb) -> None:
    """With the generation's whole name."""
    shown = dict(line.split(None, 1) for line in verb("image", "show", "debian-12").splitlines())
    assert len(shown["generation"]) == 64 and shown["problem"] == "-"
