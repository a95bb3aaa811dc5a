from __future__ import annotations

from tests.docs import main

main()
