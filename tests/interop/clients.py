"""Strangers' programs that fetch a file, and what they fetched."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def run(*command: str, seconds: float = 60.0, cwd: Path | None = None) -> tuple[int, str]:
    """Run a client; its status and what it said on stdout and stderr."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=cwd
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode("utf-8", "replace")
