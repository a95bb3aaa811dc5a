"""The verb `explain`, from the operator's file to its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.cli import main
from tests.boot.conftest import publish

FILE = """
server: {{images_dir: {images}}}
networks: [{{name: lab, subnet: 10.77.0.0/24, interface: br0, address: 10.77.0.1}}]
clusters: [{{name: blue, endpoint: "10.77.0.1:6443", image: debian-12, join: {{method: none}}}}]
pools:
  - {{name: compute, cluster: blue, network: lab, nodes: [{{name: m1, macs: [{mac}], address: 10.77.0.20}}]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A small file of an operator, and its image."""
    publish(tmp_path / "images")
    path = tmp_path / "netboot.yaml"
    path.write_text(FILE.format(images=tmp_path / "images", mac="52:54:00:12:34:56"))
    return str(path)


@pytest.mark.parametrize("who", ["52:54:00:12:34:56", "52-54-00-12-34-56", "m1"])
def test_a_machine_is_explained_by_mac_or_name(
    config: str, who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its firmware's program, its script and its join, for the architecture that was asked for."""
    assert main(["explain", who, "--arch", "uefi-http", "--config", config]) == 0
    shown = capsys.readouterr().out
    assert "is m1: declared in pool compute" in shown and "programs/snponly.efi over HTTP" in shown
    assert "undionly" not in shown and "none: it boots and joins nothing" in shown


def test_a_vendor_class_is_answered_as_it_would_be(
    config: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without --arch the class alone says what the machine is; quirks are told with it."""
    said = ["explain", "m1", "--vendor-class", "PXEClient:Arch:00000:UNDI:002001", "--config", config]
    assert main(said) == 0
    shown = capsys.readouterr().out
    assert "as told: undionly.kpxe by TFTP" in shown and "bios-pxe (class PXEClient, architecture 0)" in shown
    assert "uefi:" not in shown


def test_a_name_that_nobody_declared_is_an_error(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a MAC nor a node's name."""
    assert main(["explain", "nobody", "--config", config]) == 1
    assert "nobody" in capsys.readouterr().err


def test_an_unknown_machine_is_explained_too(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told that nobody answers it."""
    assert main(["explain", "52:54:00:00:00:99", "--config", config]) == 0
    assert "no answer" in capsys.readouterr().out
