"""Every mistake has a file of its own in tests/data/config, with the whole report that it must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.config import examine, load
from netboot.errors import ConfigError

DATA = Path(__file__).parent.parent / "data" / "config"
FILES = sorted(DATA.glob("bad-*.yaml"))
_EXPECTED = "# expected: "


def expected(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [f"{file.name}:{line.removeprefix(_EXPECTED)}" for line in lines if line.startswith(_EXPECTED)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_bad_file_gives_exactly_the_report_at_its_head(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is there, with its line, its key, what is wrong and what to do; and nothing else."""
    monkeypatch.chdir(DATA)
    assert list(examine([file.name]).problems) == expected(file)


def test_there_are_bad_files_and_each_expects_something() -> None:
    """The test above is not green for want of files."""
    assert len(FILES) > 80
    assert all(expected(file) for file in FILES)


@pytest.mark.parametrize("file", [f for f in FILES if "hunter2" in f.read_text()], ids=lambda file: file.stem)
def test_a_report_never_shows_a_secret(file: Path) -> None:
    """Passwords and keys that stand in the wrong place are not repeated in the log."""
    with pytest.raises(ConfigError) as refused:
        load([file])
    assert "hunter2" not in str(refused.value)


def test_load_raises_all_problems_of_all_files_in_one_report(tmp_path: Path) -> None:
    """Two broken files are one report, in the order of the files and their lines."""
    (tmp_path / "b.yaml").write_text("server:\n  boot_prot: 1\n")
    (tmp_path / "a.yaml").write_text("server:\n  workers: 0\nnetworks: 5\n")
    with pytest.raises(ConfigError) as refused:
        load([tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "none.yaml"])
    assert [p.partition(f"{tmp_path}/")[2].partition(": ")[0] for p in refused.value.problems] == [
        "a.yaml:2",
        "a.yaml:3",
        "b.yaml:2",
        "none.yaml",
    ]


def test_keys_that_another_dhcp_server_answers_for_are_named(tmp_path: Path) -> None:
    """In mode proxy they have no effect; behind a relay agent there is no seed."""
    file = tmp_path / "f.yaml"
    file.write_text(
        "networks:\n"
        "- {name: a, subnet: 10.1.0.0/24, interface: br0, mode: proxy, lease: 1h, dns: [10.1.0.1]}\n"
        "- {name: b, subnet: 10.2.0.0/24, relayed: true, address: 10.1.0.2, mode: proxy}\n"
    )
    found = examine([file])
    said = "\n".join(found.seen.warnings)
    assert not found.problems
    assert "networks[a]: lease, dns have no effect in mode proxy" in said
    assert "networks[b]: it is relayed and in mode proxy" in said and "no system" in said


def test_declared_nodes_that_admit_shuts_out_are_named(tmp_path: Path) -> None:
    """By MAC or maker; where vendor classes are admitted too, nobody can tell offline."""
    nodes = "[{name: m1, macs: [94:57:a5:00:00:01]}, {name: m2, macs: [52:54:00:00:00:02]}]"
    text = (
        "networks:\n"
        "- {name: a, subnet: 10.1.0.0/24, interface: br0, mode: proxy, admit: {macs: [94:57:a5]%s}}\n"
        "clusters: [{name: c, endpoint: '10.1.0.1:6443'}]\n"
        f"pools: [{{name: p, nodes: {nodes}}}]\n"
    )
    file = tmp_path / "f.yaml"
    file.write_text(text % "")
    said = [w for w in examine([file]).seen.warnings if "admit" in w]
    assert len(said) == 1 and "m2" in said[0] and "m1" not in said[0]
    file.write_text(text % ", vendors: [PXEClient]")
    assert not [w for w in examine([file]).seen.warnings if "admit" in w]


def test_switches_that_do_not_do_what_they_look_like_are_named(tmp_path: Path) -> None:
    """A drain that does not hold, and an admission that nobody waits for."""
    file = tmp_path / "f.yaml"
    text = (
        "networks: [{name: a, subnet: 10.1.0.0/24, interface: br0, range: 10.1.0.10-10.1.0.20}]\n"
        "clusters: [{name: c, endpoint: '10.1.0.1:6443', node_actions: {drain: true, cordon: %s}}]\n"
        "pools: [{name: p, cluster: c, network: a, catch_all: %s, admission: approval}]\n"
    )
    file.write_text(text % ("false", "false"))
    drain, admission = examine([file]).seen.warnings
    assert "clusters[c].node_actions: drain without cordon" in drain
    assert "pools[p].admission has no effect" in admission
    file.write_text(text % ("true", "true"))
    assert not examine([file]).seen.warnings
