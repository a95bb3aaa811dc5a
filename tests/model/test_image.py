from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.errors import ImageError
from netboot.model.image import FILES, Generation, parse_manifest, split_reference

MANIFEST = {
    "version": 1,
    "name": "debian-12",
    "architecture": "amd64",
    "kernel_parameters": ["quiet"],
    "min_ram_mib": 1024,
    "created": "2026-01-01T00:00:00Z",
    "files": {file: {"size": 5, "sha256": "a" * 64} for file in FILES},
}


def raw(**changes: object) -> bytes:
    return json.dumps({**MANIFEST, **changes}).encode()


def test_a_generation_is_named_by_its_manifests_digest() -> None:
    """Another manifest is another generation; its files lie under that name."""
    found = parse_manifest(raw(), name="debian-12")
    assert found.id == hashlib.sha256(raw()).hexdigest()
    assert found.path("vmlinuz") == f"/images/debian-12/{found.id}/vmlinuz"
    assert (found.kernel_parameters, found.min_ram_mib, found.architecture) == (("quiet",), 1024, "amd64")
    assert set(found.files) == set(FILES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "version 1"),
        ({"name": "other"}, "names it 'other'"),
        ({"files": []}, "wrong type"),
        ({"files": {}}, "no size and sha256 for vmlinuz"),
        ({"files": {file: {"size": 0, "sha256": "a" * 64} for file in FILES}}, "no size and sha256"),
        ({"files": {file: {"size": True, "sha256": "a" * 64} for file in FILES}}, "no size and sha256"),
        ({"files": {file: {"size": 5, "sha256": "A" * 64} for file in FILES}}, "no size and sha256"),
        ({"kernel_parameters": ["a b"]}, "no plain word"),
        ({"kernel_parameters": "quiet"}, "wrong type"),
        ({"min_ram_mib": "1"}, "wrong type"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_reason(changes: dict[str, object], said: str) -> None:
    """An image that may not be offered says which claim of its manifest is wrong."""
    with pytest.raises(ImageError, match=said):
        parse_manifest(raw(**changes), name="debian-12")


@given(st.binary(max_size=100))
def test_any_bytes_are_a_generation_or_an_image_error(noise: bytes) -> None:
    """A manifest on disk is input like any other."""
    try:
        assert isinstance(parse_manifest(noise, name="x"), Generation)
    except ImageError:
        pass


def test_a_reference_is_a_name_or_a_name_with_a_digest() -> None:
    """The latest generation, or that one."""
    assert split_reference("debian-12") == ("debian-12", None)
    assert split_reference(f"debian-12@sha256:{'a' * 64}") == ("debian-12", "a" * 64)


@pytest.mark.parametrize(
    "text", ["", "a b", "../x", ".x", "a@", "a@sha256:12", f"a@md5:{'a' * 64}", "a/b", "a" * 64]
)
def test_what_is_no_reference(text: str) -> None:
    """Nothing that could leave the store's folder."""
    with pytest.raises(ValueError, match=r"is not an image name|64 hex digits"):
        split_reference(text)
