"""The operators' listener: `/api/v1`, the page, metrics and health. The door of this room is `application`.

`door` is the listener, `connection` one of its connections; `access` holds tokens and certificate; `guard`
decides who is answered at all (`hosts`: under which names), `roles` says who may what, `audit` keeps who did
what; `views` answers (`addresses` for leases and pools, `assignments` for what is assigned at run time);
`shapes` says what a noun looks like, `openapi` describes it.
"""

from __future__ import annotations

from netboot.web.api.access import Access
from netboot.web.api.door import Door
from netboot.web.api.guard import ensure_admin_token
from netboot.web.api.sources import Sources
from netboot.web.api.views import application

__all__ = ["Access", "Door", "Sources", "application", "ensure_admin_token"]
