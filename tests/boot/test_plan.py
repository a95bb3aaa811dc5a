"""What a machine boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.boot.plan import BootPlan, NoBoot, decide, passable
from netboot.catalog import Catalog
from netboot.model.inventory import NoMatch
from tests.boot.conftest import inventory, publish


def decided(images_dir: Path, **changes: object) -> BootPlan | NoBoot:
    found = inventory(**changes)  # type: ignore[arg-type]
    return decide(found.assign(found.nodes[0]), Catalog(images_dir))


def test_the_latest_generation_with_all_parameters(images_dir: Path) -> None:
    """The manifest's parameters come first, then the settings'."""
    plan = decided(images_dir, kernel_parameters=("nomodeset",))
    assert isinstance(plan, BootPlan)
    assert plan.kernel_parameters == ("quiet", "console=ttyS0,115200n8", "nomodeset")


def test_a_pinned_generation_is_kept(images_dir: Path) -> None:
    """A pin wins over latest."""
    first = Catalog(images_dir).generation("debian-12")
    publish(images_dir, created="later")
    plan = decided(images_dir, image=f"debian-12@sha256:{first.id}")
    assert isinstance(plan, BootPlan) and plan.generation == first


def test_a_machine_without_image_boots_locally(images_dir: Path) -> None:
    """No image means no system from us, and no asking again."""
    decision = decided(images_dir, image=None)
    assert isinstance(decision, NoBoot) and not decision.retry and "no image" in decision.reason


def test_a_missing_or_broken_image_is_a_reason_to_ask_again(images_dir: Path) -> None:
    """The machine waits for the operator, who is told the file."""
    missing = decided(images_dir, image="other")
    assert isinstance(missing, NoBoot) and missing.retry and "other" in missing.reason and missing.remedy
    generation = Catalog(images_dir).generation("debian-12")
    (images_dir / "debian-12" / generation.id / "initrd.img").write_text("cut")
    broken = decided(images_dir)
    assert isinstance(broken, NoBoot) and broken.retry and "initrd.img" in broken.reason


def test_an_unknown_machine_is_told_the_reason() -> None:
    """The inventory's reason is the script's reason."""
    decision = decide(NoMatch("declared in no pool"), Catalog(Path("/nonexistent")))
    assert isinstance(decision, NoBoot) and decision.reason == "declared in no pool" and decision.retry


@pytest.mark.parametrize("word", ["a b", "${x}", "||", "&&", ";", "#x", "", "é", "a\nb"])
def test_a_parameter_that_ipxe_would_change_is_not_passed(images_dir: Path, word: str) -> None:
    """Such a parameter stops the boot with a reason instead of changing its meaning."""
    assert not passable(word)
    decision = decided(images_dir, kernel_parameters=(word,))
    assert isinstance(decision, NoBoot) and "kernel parameter" in decision.reason


def test_too_many_parameters_are_refused(images_dir: Path) -> None:
    """The kernel would cut its command line at 2048 characters."""
    decision = decided(images_dir, kernel_parameters=tuple(f"parameter{n}=x" for n in range(100)))
    assert isinstance(decision, NoBoot) and "too long" in decision.reason
