"""Keys and secrets are derived, and differ wherever anything differs."""

from __future__ import annotations

import pytest

from netboot.boot.key import KEY, boot_key, boot_of_session, same, session_secret, shortened

SECRET = b"s" * 32


def test_a_key_is_the_same_after_a_restart_and_different_for_another_boot() -> None:
    """128 bits in hex that depend on the secret and the boot."""
    key = boot_key(SECRET, "boot1")
    assert KEY.fullmatch(key) and key == boot_key(SECRET, "boot1")
    assert len({key, boot_key(SECRET, "boot2"), boot_key(b"t" * 32, "boot1")}) == 3


def test_a_session_depends_on_boot_and_certificate() -> None:
    """The session's tag changes with each of its parts, and names its boot."""
    one = session_secret(SECRET, "boot1", "aa")
    assert boot_of_session(one) == "boot1"
    assert len({one, session_secret(SECRET, "boot1", "ab"), session_secret(b"t" * 32, "boot1", "aa")}) == 3
    assert session_secret(SECRET, "boot1a", "a") != session_secret(SECRET, "boot1", "aa")


@pytest.mark.parametrize("text", ["", ".", "boot1", "boot1.short", "bo/ot." + "a" * 43, "." + "a" * 43])
def test_what_is_no_session_names_no_boot(text: str) -> None:
    """Only BOOT.TAG is looked up at all."""
    assert boot_of_session(text) is None


def test_a_short_secret_is_refused() -> None:
    """An empty secret file must not make guessable keys."""
    with pytest.raises(ValueError):
        boot_key(b"short", "boot1")


def test_secrets_compare_by_value() -> None:
    """Equal texts are equal, all others are not."""
    assert same("é", "é") and not same("a", "b")


def test_a_logged_path_has_a_shortened_key() -> None:
    """Of a boot key six digits are left in a log."""
    assert shortened(f"/boot/{'0123456789abcdef' * 2}/claim") == "/boot/012345.../claim"
    assert shortened("/images/a") == "/images/a"
