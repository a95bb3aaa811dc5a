from __future__ import annotations

from pathlib import Path

import pytest

from netboot.config import examine, load
from netboot.config.reading import Source, gather, validated
from netboot.errors import ConfigError


def source(tmp_path: Path, text: str) -> Source:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    found, problems = gather([file])
    assert problems == []
    return found


def test_a_directory_stands_for_its_yaml_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Other files, hidden files and folders in it are left alone."""
    (tmp_path / "20.yaml").write_text("server: {boot_port: 8080}\n")
    (tmp_path / "10.yaml").write_text("server: {boot_port: 81, workers: 2}\n")
    (tmp_path / ".swap.yaml").write_text("broken: [")
    (tmp_path / "note.txt").write_text("broken: [")
    (tmp_path / "old.yaml").mkdir()
    config = load([tmp_path])
    assert (config.server.boot_port, config.server.workers) == (8080, 2)
    assert config.files == (tmp_path, tmp_path / "10.yaml", tmp_path / "20.yaml")


def test_a_tokens_file_in_the_directory_is_no_part_of_the_configuration(tmp_path: Path) -> None:
    """docs/api.md and the unit of systemd together: it is read as what it is, and its change is no reload."""
    tokens = tmp_path / "api-tokens.yaml"
    tokens.write_text("- {name: anna, role: viewer, sha256: " + "0" * 64 + "}\n")
    main = tmp_path / "netboot.yaml"
    main.write_text(f"server: {{api: {{tokens_file: {tokens}}}}}\n")
    config = load([tmp_path])
    assert config.api.tokens_file == tokens
    assert config.files == (tmp_path, main)


def test_a_list_that_nothing_names_as_tokens_file_is_refused(tmp_path: Path) -> None:
    """In the directory, and where the operator gives the tokens file itself as configuration."""
    tokens = tmp_path / "api-tokens.yaml"
    tokens.write_text("[]\n")
    main = tmp_path / "netboot.yaml"
    main.write_text("server: {api: {tokens_file: /elsewhere/api-tokens.yaml}}\n")
    with pytest.raises(ConfigError, match="the file is not a mapping"):
        load([tmp_path])
    main.write_text('server: {api: {tokens_file: "/\\0"}}\n')
    with pytest.raises(ConfigError, match="the file is not a mapping"):
        load([tmp_path])
    main.write_text(f"server: {{api: {{tokens_file: {tokens}}}}}\n")
    with pytest.raises(ConfigError, match="the file is not a mapping"):
        load([main, tokens])


def test_a_directory_without_files_is_refused(tmp_path: Path) -> None:
    """An empty folder is a slip, not an empty configuration."""
    with pytest.raises(ConfigError, match=r"no \*\.yaml is in this directory"):
        load([tmp_path])


def test_a_directory_that_is_not_there_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The system's reason, and no traceback."""
    with pytest.raises(ConfigError, match="it cannot be read: No such file or directory"):
        load([tmp_path / "none"])


def test_a_path_names_entries_by_their_names(tmp_path: Path) -> None:
    """Operators know their nodes by name; what has none is told by its position from 0."""
    found = source(
        tmp_path,
        "pools:\n- name: a\n  nodes:\n  - {name: n1, macs: [x]}\n- {}\ntags: {a/b: {files: {/x: 1}}}\n",
    )
    assert found.name(("pools", 0, "nodes", 0, "macs", 0)) == "pools[a].nodes[n1].macs[0]"
    assert found.name(("pools", 1, "cluster")) == "pools[1].cluster"
    assert found.name(("tags", "a/b", "files", "/x")) == "tags[a/b].files[/x]"


def test_a_place_is_the_line_of_the_value_or_of_what_would_hold_it(tmp_path: Path) -> None:
    """A missing key is told where its entry starts."""
    found = source(tmp_path, "server:\n  workers: 2\nclusters:\n  - name: a\n    tags:\n      - x\n")
    assert found.place(("server", "workers")).line == 2
    assert found.place(("clusters", 0, "endpoint")).line == 4
    assert found.place(("clusters", 0, "tags", 0)).line == 6


def test_what_is_right_beside_a_wrong_value_is_still_read(tmp_path: Path) -> None:
    """So that contradictions elsewhere stand in the same report."""
    root, rest, problems = validated(
        source(
            tmp_path,
            "server: {workers: 0, boot_port: 8080}\n"
            "clusters:\n- {name: a, endpoint: nowhere}\n"
            "- {name: b, endpoint: '10.0.0.1:6443', tags: [x, 'a b', y]}\n",
        )
    )
    assert len(problems) == 3
    assert (root.server.boot_port, root.server.workers) == (8080, None)
    assert [(cluster.name, cluster.tags) for cluster in root.clusters] == [("b", ("x", "y"))]
    assert rest.place(("clusters", 0, "name")).line == 4


def test_problems_stand_in_the_order_of_the_files_and_their_lines(tmp_path: Path) -> None:
    """Whatever found them."""
    file = tmp_path / "f.yaml"
    file.write_text("tags: {a b: {}}\nserver: {workers: 0}\npools: [{tags: [none]}]\nserver: {}\n")
    lines = [int(problem.removeprefix(f"{file}:").partition(":")[0]) for problem in examine([file]).problems]
    assert lines == sorted(lines)
    assert set(lines) == {1, 2, 3, 4}
