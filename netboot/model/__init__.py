"""The nouns of the house: pure values that every room shares. Nothing here does I/O or reads a clock."""
