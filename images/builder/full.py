"""The full image: the Dockerfile built by buildah, its store copied out."""

from __future__ import annotations

import argparse

from images.builder.errors import BuildError

KUBE = ("repository", "standin", "local")


def check_options(options: argparse.Namespace) -> None:
    raise BuildError("not yet")
