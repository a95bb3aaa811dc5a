"""What runs the tests: the report of promises, and the order of `scripts/test`."""
