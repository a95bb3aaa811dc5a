"""The cluster that these tests run against."""

from tests.kube.fixtures import canaries, kube

__all__ = ["canaries", "kube"]
