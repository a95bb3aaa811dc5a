"""A plot as a PNG: shares that grow over time, one curve for each series. Needs no library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE, SCALE = 900, 420, 60, 40, 15, 2
Colour = tuple[int, int, int]
COLOURS: Mapping[str, Colour] = {
    "blue": (31, 119, 180),
    "orange": (255, 127, 14),
    "green": (44, 160, 44),
    "red": (214, 39, 40),
    "purple": (148, 103, 189),
}
BLACK, GREY, WHITE = (0, 0, 0), (220, 220, 220), (255, 255, 255)
FONT = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757",
    "7": "71111", "8": "75757", "9": "75717", "s": "03216",
}  # fmt: skip
"""Five rows of three dots each, as octal digits."""


class _Canvas:
    """Pixels, the origin below on the left."""

    def __init__(self) -> None:
        self._rows = [bytearray(bytes(WHITE) * WIDTH) for _ in range(HEIGHT)]

    def dot(self, x: int, y: int, colour: Colour) -> None:
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            self._rows[HEIGHT - 1 - y][3 * x : 3 * x + 3] = bytes(colour)

    def line(self, start: tuple[int, int], end: tuple[int, int], colour: Colour, thick: int = 1) -> None:
        steps = max(1, abs(end[0] - start[0]), abs(end[1] - start[1]))
        for step in range(steps + 1):
            x, y = (round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True))
            for dx in range(thick):
                for dy in range(thick):
                    self.dot(x + dx, y + dy, colour)

    def text(self, x: int, y: int, words: str) -> None:
        for place, character in enumerate(words):
            for row, bits in enumerate(FONT[character]):
                for column in range(3):
                    if int(bits) & 4 >> column:
                        self._block(x + SCALE * (4 * place + column), y - SCALE * row)

    def _block(self, x: int, y: int) -> None:
        for dx in range(SCALE):
            for dy in range(SCALE):
                self.dot(x + dx, y + dy, BLACK)

    def png(self) -> bytes:
        raw = b"".join(b"\0" + row for row in self._rows)
        head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
        parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )


def shares(path: Path, series: Mapping[str, Sequence[float]]) -> str:
    """Write how many per cent were through after how many seconds; returns which colour is which series."""
    canvas = _Canvas()
    last = max(max(times) for times in series.values()) or 1.0
    tick = next(t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e9) if last / t <= 12)

    def at(seconds: float, percent: float) -> tuple[int, int]:
        width, height = WIDTH - LEFT - EDGE, HEIGHT - BOTTOM - EDGE
        return LEFT + round(width * seconds / last), BOTTOM + round(height * percent / 100)

    for percent in (0, 25, 50, 75, 100):
        canvas.line(at(0, percent), at(last, percent), GREY)
        canvas.text(LEFT - 34, at(0, percent)[1] + 4, str(percent))
    for number in range(int(last / tick) + 1):
        x, y = at(number * tick, 0)
        canvas.line((x, y), (x, y - 5), BLACK)
        if tick >= 1:
            canvas.text(x - 8, y - 12, f"{number * tick:.0f}s")
    for times, colour in zip(series.values(), COLOURS.values(), strict=False):
        before = at(0, 0)
        for number, seconds in enumerate(sorted(times), 1):
            level = at(seconds, 100 * number / len(times))
            canvas.line(before, (level[0], before[1]), colour, 2)
            canvas.line((level[0], before[1]), level, colour, 2)
            before = level
    path.write_bytes(canvas.png())
    return ", ".join(f"{colour} {name}" for name, colour in zip(series, COLOURS, strict=False))
