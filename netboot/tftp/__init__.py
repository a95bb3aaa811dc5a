"""Serve first-stage files: `wire` and `transfer` are pure, `server` is the TFTP process around them."""
