"""What happened to which machine: boot steps, ring per machine, log line, counter, stream.

Every room reports through two objects. `Boots` keeps the timeline of each boot and hands it to the store
once a second. `Journal` takes single events. Nothing secret and nothing unbounded gets through: `clean`
redacts, escapes and cuts all text.
"""

from __future__ import annotations

from netboot.events.boots import Boots, Facts, boot_id
from netboot.events.journal import Event, Journal, Topic, line
from netboot.events.redact import TEXT_LIMIT, LogFormatter, clean, configure_logging, redact

__all__ = [
    "TEXT_LIMIT",
    "Boots",
    "Event",
    "Facts",
    "Journal",
    "LogFormatter",
    "Topic",
    "boot_id",
    "clean",
    "configure_logging",
    "line",
    "redact",
]
