"""What `serve --observe` and `explain --pcap` share: their options, and findings on standard output."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TextIO

from netboot.cli.client import fancy
from netboot.cli.paint import painter
from netboot.errors import StartError
from netboot.shadow import report
from netboot.shadow.assess import Finding
from netboot.shadow.report import Summary


def add_options(parser: argparse.ArgumentParser) -> None:
    """`-o` and `--propose`."""
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="how exchanges are shown: for people, or one JSON object per line (default: text)",
    )
    parser.add_argument(
        "--propose",
        type=Path,
        metavar="FILE",
        help="write the machines that nobody declared as `nodes:` into this new file (default: print them)",
    )


def display(output: str) -> Text | Lines:
    """Where findings go."""
    return Lines() if output == "json" else Text()


class Text:
    """For people."""

    def __init__(self) -> None:
        self._paint = painter()
        self._fancy = fancy()

    def opened(self, what: str) -> None:
        """The first line."""
        self._paint(((what, "dim"),))

    def finding(self, finding: Finding) -> None:
        """One exchange."""
        for line in report.lines(finding, fancy=self._fancy):
            self._paint(line)

    def closed(self, summary: Summary, skipped: Counter[str], proposed: int) -> None:
        """The summary."""
        for line in summary.lines(skipped, proposed):
            self._paint(line)


class Lines:
    """For machines: one JSON object per line, what is listened to first, the summary last."""

    def opened(self, what: str) -> None:
        """The first line: from now on nothing is missed."""
        _line({"opened": what})

    def finding(self, finding: Finding) -> None:
        """One exchange."""
        _line(report.data(finding))

    def closed(self, summary: Summary, skipped: Counter[str], proposed: int) -> None:
        """The summary."""
        _line({"summary": {**summary.data(skipped), "proposed": proposed}})


def _line(item: object) -> None:
    print(json.dumps(item), flush=True)


class Proposal:
    """Where the proposed nodes go: a new file, made at once so that what is wrong with it is told at once."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Raises StartError for a file that is there already."""
        self._output = args.output
        self._file = _new(args.propose) if args.propose else None

    def __enter__(self) -> Proposal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def take(self, text: str, machines: int) -> None:
        """Write the proposal; without a file it is printed where people read."""
        if self._file:
            self._file.write(text)
        elif machines and self._output == "text":
            print("\n" + text, end="")


def _new(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8")
    except OSError as error:
        what = f"--propose: {path} cannot be made: {error.strerror}"
        raise StartError(what, "Name a new file: none is ever overwritten") from None
