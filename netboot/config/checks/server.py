"""What `server` says."""

from __future__ import annotations

from collections.abc import Iterator

from netboot.config.checks.facts import Facts
from netboot.config.problems import Problem


def api(facts: Facts) -> Iterator[Problem]:
    """An API beyond the loopback needs tls."""
    host, _ = facts.root.server.api.listen
    if host != "::1" and not host.startswith("127."):
        what = f"{host} is not the loopback, where the API must have tls, which is not there yet"
        remedy = "listen on 127.0.0.1, and reach it from elsewhere through ssh -L"
        yield facts.problem(("server", "api", "listen"), what, remedy)
