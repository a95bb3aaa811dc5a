"""Python runs this where it is on the path: it writes down what the daemon imports once root is dropped."""

from __future__ import annotations

import os
import sys

LOG = os.environ.get("NETBOOT_LATE_IMPORTS")

if LOG and "netboot.config.child" not in sys.orig_argv:
    descriptor = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    class Watch:
        """A finder that finds nothing and tells what was looked for."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            """Called for every import that is not done yet."""
            if os.geteuid() != 0:
                os.write(descriptor, f"{name}\n".encode())

    sys.meta_path.insert(0, Watch)  # type: ignore[arg-type]
