"""Tests of netboot.join."""
