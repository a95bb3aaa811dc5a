"""What `serve` and `check --here` say of the API's files on this host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netboot.config import Api, Config, Server, here
from netboot.config.tls import Certificate
from netboot.model.inventory import Inventory
from netboot.web.api.guard import token_sha256
from tests.support.certificates import authority


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """An API with a certificate for its address and one token."""
    files = authority().write(tmp_path, "10.28.0.2")
    files["key"].chmod(0o640)
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(f"- {{name: anna, role: admin, sha256: '{token_sha256('a')}'}}\n")
    tokens.chmod(0o640)
    tls = Certificate(files["certificate"], files["key"])
    inventory = Inventory(networks={}, clusters={}, pools={}, nodes=())
    return Config((), Server(data_dir=tmp_path, images_dir=tmp_path),
                  Api("10.28.0.2", 8443, (), tls, tokens), inventory)  # fmt: skip


def about_the_api(config: Config) -> list[str]:
    """Its problems, of which ports and accounts are none."""
    return [said for said in here.problems(config) if said.startswith("server.api.t")]


def test_files_in_order_are_not_worth_a_word(config: Config) -> None:
    """Neither a problem nor a warning."""
    assert about_the_api(config) == [] and here.warnings(config) == []


def test_a_certificate_that_cannot_be_used_is_a_problem(config: Config) -> None:
    """The API would have nothing to show."""
    assert config.api.tls is not None
    config.api.tls.key.write_text("nothing")
    (problem,) = about_the_api(config)
    assert problem.startswith("server.api.tls: certificate ") and "cannot be used" in problem


def test_every_wrong_line_of_the_tokens_is_a_problem(config: Config) -> None:
    """A missing file is one, too."""
    assert config.api.tokens_file is not None
    config.api.tokens_file.write_text("- {name: a, role: king, sha256: x}\n")
    assert [said.split(": ")[2] for said in about_the_api(config)] == ["role", "sha256"]
    config.api.tokens_file.unlink()
    assert "cannot be read" in about_the_api(config)[0]


def test_what_clients_would_meet_is_a_warning(config: Config, tmp_path: Path) -> None:
    """A certificate for another name or of another time; a key and tokens that others may read."""
    assert config.api.tokens_file is not None
    config.api.tokens_file.chmod(0o644)
    elsewhere = replace(config, api=replace(config.api, host="10.28.0.3", names=("netboot.example.org",)))
    guess, name = here.warnings(elsewhere)
    assert "chmod 640" in guess and "does not name 10.28.0.3, netboot.example.org" in name
    files = authority().write(tmp_path, "10.28.0.2", days=-1)
    old = replace(config, api=replace(config.api, tls=Certificate(files["certificate"], files["key"])))
    assert "expired at" in here.warnings(old)[1]
    files["key"].chmod(0o644)
    assert "the private key; run chmod 640" in here.warnings(old)[2]
