"""The cluster that these tests run against."""

from tests.fleet.moving import clusters, move
from tests.kube.fixtures import canaries, kube

__all__ = ["canaries", "clusters", "kube", "move"]
