"""Tests of the power drivers and of what uses them."""
