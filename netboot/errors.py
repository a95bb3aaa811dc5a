"""The exceptions of the appliance, all in one tree.

Who is at fault decides the branch: the operator, the network, a peer or the machine we run on.

    NetbootError
    ├── ConfigError            the operator's file: every problem found, in one report
    ├── StartError             `serve` cannot start: the reason and the remedy (exit status 2)
    ├── MalformedPacket        bytes from the network that are no message of their protocol
    ├── CaptureError           a file that is no capture, or a damaged one
    ├── ProbeError             what kept a simulated client from booting
    ├── Refused                a machine or an operator asked for what it may not have
    │   └── TooLate            what it might have had a moment ago: no reason for alarm
    ├── ImageError             an image on disk that cannot be offered
    ├── JoinWithheld           no join credential now (retry_after) or for good (None)
    ├── ClusterError           the Kubernetes API said no
    │   ├── ClusterUnavailable no answer, or 429/5xx: try again later
    │   └── ClusterRefused     401, 403, 404, 409, 422 with the API's reason
    └── StoreError             what we remember cannot be written or read
"""

from __future__ import annotations

from collections.abc import Sequence


class NetbootError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(NetbootError):
    """The operator's file was refused; `problems` holds each reason with its file, line and remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StartError(NetbootError):
    """The daemon cannot start: `reason` says what was wrong, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}. {remedy}")


class MalformedPacket(NetbootError):
    """Bytes from the network that do not form a message; the text says which claim they break."""


class CaptureError(NetbootError):
    """A capture file that cannot be read; the text says what it claims."""


class ProbeError(NetbootError):
    """A step of a simulated client that failed; the text says why."""


class Refused(NetbootError):
    """A request that is answered with a refusal: `status` is its HTTP status, the text its reason.

    `remedy` is what to do about it, where that can be said better than whoever answers would.
    """

    def __init__(self, status: int, reason: str, remedy: str = "") -> None:
        self.status = status
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason)


class TooLate(Refused):
    """The right secret of a session that is over: a node's last word crossed with its being Ready."""


class ImageError(NetbootError):
    """An image generation that may not be offered; the text says which file disagrees with its manifest."""


class JoinWithheld(NetbootError):
    """No credential is made: `retry_after` seconds from now it may be, or never for this boot (None)."""

    def __init__(self, reason: str, retry_after: float | None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class ClusterError(NetbootError):
    """A Kubernetes API did not do what was asked."""


class ClusterUnavailable(ClusterError):
    """The API gave no usable answer; asking again in `retry_after` seconds may help.

    `status` is the HTTP status of an answer that said so (429, 5xx), else 0.
    """

    def __init__(self, reason: str, retry_after: float = 5.0, status: int = 0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        self.status = status
        super().__init__(reason)


class ClusterRefused(ClusterError):
    """The API refused: `status` is its HTTP status, `reason` the text of its Status body."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"{status}: {reason}")


class StoreError(NetbootError):
    """The store cannot write or read (full or read-only disk, damaged file)."""
