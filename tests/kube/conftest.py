"""The cluster that these tests run against."""

from tests.kube.fixtures import canaries, kube, machine

__all__ = ["canaries", "kube", "machine"]
