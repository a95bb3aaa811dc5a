"""What goes wrong while an image is built, in words for the person who builds it."""

from __future__ import annotations


class BuildError(Exception):
    """A build cannot go on: what was wrong, where, and what to do."""
