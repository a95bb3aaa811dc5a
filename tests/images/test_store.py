"""The store layout that builds publish into."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from images.builder import store
from netboot.model.image import parse_manifest


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the three files of an image."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in store.FILES:
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def manifest(files: Path, **changes: object) -> bytes:
    """A manifest of the files."""
    values = {
        "name": "micro",
        "kernel_parameters": ["quiet"],
        "min_ram_mib": 384,
        "created": 1_700_000_000,
        **changes,
    }
    return store.manifest_of(files, **values)  # type: ignore[arg-type]


def test_the_appliance_reads_the_manifest(files: Path) -> None:
    """Builder and appliance agree on the format."""
    raw = manifest(files)
    generation = parse_manifest(raw, name="micro")
    assert generation.kernel_parameters == ("quiet", "netboot.min_ram=384")
    assert generation.min_ram_mib == 384
    assert generation.files["vmlinuz"].size == 700
    assert generation.files["vmlinuz"].sha256 == hashlib.sha256(b"vmlinuz" * 100).hexdigest()
    assert json.loads(raw)["created"] == "2023-11-14T22:13:20Z"


def test_the_same_files_give_the_same_generation(files: Path, tmp_path: Path) -> None:
    """A build that changed nothing publishes nothing new."""
    first = store.publish(files, tmp_path / "a", manifest(files))
    second = store.publish(files, tmp_path / "b", manifest(files))
    assert first.name == second.name == hashlib.sha256(manifest(files)).hexdigest()


def test_a_generation_is_published_whole_and_latest_points_at_it(files: Path, tmp_path: Path) -> None:
    """Nothing unfinished is left beside it."""
    target = store.publish(files, tmp_path / "store", manifest(files))
    home = tmp_path / "store/micro"
    assert sorted(path.name for path in target.iterdir()) == sorted([*store.FILES, "manifest.json"])
    assert os.readlink(home / "latest") == target.name
    assert sorted(path.name for path in home.iterdir()) == sorted(["latest", target.name])


def test_an_older_generation_stays_when_a_new_one_comes(files: Path, tmp_path: Path) -> None:
    """Machines that boot it right now go on."""
    first = store.publish(files, tmp_path / "store", manifest(files))
    (files / "vmlinuz").write_bytes(b"newer")
    second = store.publish(files, tmp_path / "store", manifest(files))
    assert first.is_dir() and second.is_dir() and first != second
    assert os.readlink(tmp_path / "store/micro/latest") == second.name


def test_a_full_disk_leaves_no_half_generation(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one stays the latest."""
    first = store.publish(files, tmp_path / "store", manifest(files))
    (files / "vmlinuz").write_bytes(b"newer")
    newer = manifest(files)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_copy", full)
    with pytest.raises(OSError, match="No space"):
        store.publish(files, tmp_path / "store", newer)
    assert sorted(path.name for path in (tmp_path / "store/micro").iterdir()) == sorted(
        ["latest", first.name]
    )


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "x" * 64])
def test_a_name_that_is_no_image_name_is_refused(files: Path, name: str) -> None:
    """It becomes a folder and a part of URLs."""
    with pytest.raises(ValueError, match="not an image name"):
        manifest(files, name=name)


def test_a_kernel_parameter_with_a_blank_is_refused(files: Path) -> None:
    """It would become two."""
    with pytest.raises(ValueError, match="not one word"):
        manifest(files, kernel_parameters=["a b"])


def test_a_missing_file_is_named(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 1 and says which."""
    (files / "initrd.img").unlink()
    status = store.main([str(files), str(tmp_path / "store"), "--name", "micro", "--min-ram", "384"])
    assert status == 1 and "initrd.img" in capsys.readouterr().err
