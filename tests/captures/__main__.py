"""See the package: `python -m tests.captures [FOLDER]`."""

from tests.captures import main

main()
