"""docs/quirks.md, from the tables of the product and the rows of `field`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netboot.boot.firmware import NO_PROGRAM, YOURS
from netboot.boot.quirks import QUIRKS
from netboot.boot.rules import RULES
from tests.docs.field import ROWS, Row

HEAD = """\
# Quirks of firmware

Written by `scripts/docs` from `netboot/boot/quirks.py`, `netboot/boot/rules.py` and `tests/docs/field.py`:
do not edit it. `netboot quirks` prints the first two tables, `netboot explain MAC --arch ... --vendor-class
...` which quirks a machine's replies would follow and why, `netboot boot show` which ones they followed
(`quirks` in the API).

## Quirks

A quirk applies to every client that it matches, or where a node names it:

```yaml
nodes:
  - name: m1c29
    macs: [94:57:a5:d3:ec:f2]
    boot:
      program: snponly.efi           # instead of the firmware table's, never for iPXE: it gets the script
      quirks: [no-option-60]         # or option-60, raspberry-pi, no-raspberry-pi, ...
```

`no-` and the id of a quirk that applies by itself switches that one off. Strength, weakest first: the boot
plan, quirks that match, the node's own `boot.program` and boot options (43, 60, 66, 67) in `options`,
quirks that the node names. For all other options a quirk is stronger than any operator's option.
"""

UEFI = """\
## UEFI PXE and option 60

UEFI PXE gets a plain DHCP offer with server and file, without 60 and 43. EDK2 as in Debian's OVMF, tried in
a virtual machine against dnsmasq:

| 60 | 43 | EDK2 |
|---|---|---|
| none | none | boots |
| none | `06 01 08 ff` | boots |
| `PXEClient` | `06 01 08 ff` | boots |
| `PXEClient` | none | asks port 4011, then `PXE-E16: No valid offer received` |
| `PXEClient` | `06 01 03 ff` | waits for a menu, then `PXE-E21: Remote boot cancelled` |

A plain offer is what ISC dhcpd and Kea send where nobody tells them otherwise, so that every firmware has
met it. Ampere eMAG ignores the file name of an offer with 60, and some UEFI ignores offers with 43, so that
both stay out. Firmware that follows PXE 2.1 to the letter and takes no offer without the class needs the
quirk `option-60`, which sends the third row.
"""

YOUR_PROGRAMS = """\
## Programs that you bring

Debian's package ipxe has programs for x86 BIOS and x64 UEFI. For another architecture, put an iPXE built
for it into `files_dir` under this name and reload; without it, the machine gets an address, and its boot
says what is missing. An iPXE of your own must have HTTP (`DOWNLOAD_PROTO_HTTP`).
"""


FIELD = """\
## What is known of clients in the field

Each row with the ids above, and the tests that show it.
"""


def page() -> str:
    """The whole page."""
    quirks = ((f"`{q.id}`", q.match_text, str(q.effect), q.why, q.source) for q in QUIRKS)
    rules = ((f"`{r.id}`", r.match, r.effect, f"`{r.where}`", r.source) for r in RULES)
    programs: dict[str, list[str]] = {}
    for arch, name in YOURS.items():
        programs.setdefault(name, []).append(f"{arch:d} ({NO_PROGRAM[arch].removeprefix('it is a ')})")
    brought = ((f"`{name}`", ", ".join(archs)) for name, archs in programs.items())
    parts = (
        HEAD,
        _table(("id", "match", "effect", "otherwise", "source"), quirks),
        UEFI,
        YOUR_PROGRAMS,
        _table(("name", "architecture (option 93)"), brought),
        "## Rules for everybody\n",
        _table(("id", "for", "effect", "code", "source"), rules),
        FIELD,
        _table(("client or situation", "what it does", "ids", "tests"), map(_row, ROWS)),
    )
    return "\n".join(parts)


def _row(row: Row) -> tuple[str, ...]:
    ids = ", ".join(f"`{id_}`" for id_ in row.ids)
    tests = ", ".join(f"`{test}`" for test in row.test_ids)
    return row.client, row.behaviour, ids, f"{tests}{'. ' if tests and row.not_ours else ''}{row.not_ours}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in _cells(tuple(head), rows))


def _cells(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> Iterator[list[str]]:
    yield list(head)
    yield ["---"] * len(head)
    for row in rows:
        yield [cell.replace("|", "\\|") for cell in row]
