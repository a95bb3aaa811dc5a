"""Fuzzing: targets that take any octets, the promises they check, and the runner behind scripts/fuzz."""
