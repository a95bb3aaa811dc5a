"""`netboot audit list`."""

from __future__ import annotations

from tests.cli.conftest import Verb


def test_changes_are_listed_with_who_and_how_they_ended(verb: Verb) -> None:
    """Newest first; what was asked for, the status of the answer."""
    verb("lease", "release", "10.0.0.250", status=1)
    verb("lease", "release", "10.0.0.7", "--force")
    lines = verb("audit", "list").splitlines()
    assert lines[0].split() == ["AT", "WHO", "FROM", "WHAT", "ASKED", "ENDED"]
    assert lines[1].split()[2:] == [
        "admin.token", "(admin)", "127.0.0.1", "DELETE", "/api/v1/leases/10.0.0.7", "force=true", "200",
    ]  # fmt: skip
    assert lines[2].split()[-1] == "404"
    assert len(verb("audit", "list", "--limit", "1").splitlines()) == 2
