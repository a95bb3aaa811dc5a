"""A token to create and a kubeconfig to speak with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from netboot.cluster import BootstrapToken
from netboot.cluster.calls import rfc3339
from tests.kube import pki
from tests.kube.fixtures import DEFAULT_GROUP, Kube

SECRET = "0123456789abcdef"


def token(token_id: str = "abcdef") -> BootstrapToken:
    """A bootstrap token."""
    return BootstrapToken(token_id, SECRET, rfc3339(time.time() + 600), (DEFAULT_GROUP,), "for a test")


def kubeconfig_of(kube: Kube, path: Path, user: dict[str, Any]) -> Path:
    """A kubeconfig for that user."""
    path.write_text(pki.kubeconfig(kube.server, kube.ca, user))
    return path
