"""`scripts/theft`: every route to a node's secrets that we know, tried on a running daemon.

rows       one function for each route; it returns what it got, nothing where the guard holds
scene      the site that rows play in: daemon, API stand-in, machines of a bridge in a namespace
guards     how each guard is switched off: then its row must get something, or it proves nothing
inject     a sitecustomize that puts the guards' switches into `netboot serve` and its helpers
"""
