"""Look at somebody else's DHCP: captures and the wire to exchanges, and what we would have answered.

Nothing in here sends. `pcap` and `frame` read bytes, `exchange` finds who talks with whom, `compare` says
where we would differ, `propose` writes down the machines that nobody declared, `report` shows it.
`netboot.observe` composes them with the very server that answers in `serve`.
"""
