"""Tests of netboot.cluster."""
