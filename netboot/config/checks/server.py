"""What `server` says."""

from __future__ import annotations

from collections.abc import Iterator

from netboot.config.checks.facts import Facts
from netboot.config.problems import Problem


def api(facts: Facts) -> Iterator[Problem]:
    """An API beyond the loopback needs tls."""
    said = facts.root.server.api
    host, _ = said.listen
    server = facts.source.tree.get("server")
    wrote = isinstance(server, dict) and isinstance(server.get("api"), dict) and server["api"].get("tls")
    if host != "::1" and not host.startswith("127.") and not said.tls and not wrote:
        what = f"{host} is not the loopback, where the API must have tls"
        remedy = "write tls: {certificate: ..., key: ...}, or listen on 127.0.0.1 and come through ssh -L"
        yield facts.problem(("server", "api", "listen"), what, remedy)
