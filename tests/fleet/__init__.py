"""Tests of netboot.fleet."""
