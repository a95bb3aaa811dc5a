"""Recipes of the boot images, and the builder that follows them."""
