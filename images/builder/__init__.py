"""Builds boot images and publishes them in the store layout; needs the standard library only."""
