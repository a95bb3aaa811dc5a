"""What fuzzing found worth keeping, replayed; and the runner itself, in small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, NAMES, target

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1 << 20


@pytest.mark.parametrize("name", NAMES)
def test_every_kept_input_keeps_every_promise(name: str) -> None:
    """The corpus and the seeds of each target, without a fuzzer: a value or our own error, each invariant."""
    chosen = target(name)
    kept = sorted((CORPUS / name).iterdir())
    assert len(kept) > 20, "the corpus is missing: scripts/fuzz --keep makes it"
    for path in kept:
        try:
            chosen.one_input(path.read_bytes())
        except Exception as error:
            pytest.fail(f"{name} {path.name}: {type(error).__name__}: {error}")
    for octets in chosen.seeds():
        chosen.one_input(octets)


def test_the_corpus_stays_small() -> None:
    """Less than a mebibyte in all, no input longer than its target takes."""
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT
    assert all(path.stat().st_size <= target(path.parent.name).MAX_LENGTH for path in files)


def test_the_runner_says_what_it_did(tmp_path: Path) -> None:
    """A few hundred inputs: a row per target, all inputs done, no crash, status 0, nothing left behind."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", "--inputs", "400", "--seed", "3"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^ *(\w+) +(\d+) .* (\d+)$", done.stdout, re.MULTILINE)
    assert {name for name, _, _ in rows} == set(NAMES)
    assert sum(int(inputs) for _, inputs, _ in rows) >= 400 and {crashes for *_, crashes in rows} == {"0"}
    assert not list(tmp_path.iterdir())


def test_the_runner_shows_the_input_that_broke_a_promise(tmp_path: Path) -> None:
    """Status 1, the exception, and a command that replays it; the input stays where it says."""
    broken = tmp_path / "tests" / "fuzz"
    broken.mkdir(parents=True)
    code = "import sys, tests.fuzz.fuzz_http as t\nt.parse_head = lambda data: 1 // 0\n"
    code += "from tests.fuzz.run import main\nsys.exit(main(['--inputs', '50', '--target', 'http']))\n"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'tests.fuzz.worker' in sys.orig_argv:\n"
        "    import netboot.web.http1 as h\n    h.parse_head = lambda data: 1 // 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 1 and "ZeroDivisionError" in done.stdout, done.stdout + done.stderr
    replay = re.search(r"replay: python -m tests\.fuzz\.replay http (\S+)", done.stdout)
    assert replay and Path(replay[1]).is_file()
