"""A simulated client: asks a live DHCP server as firmware does, and loads what it is told to.

`clients` is what each kind of machine says, `offers` what it makes of the answers (both pure), `card` speaks
DHCP from one interface or as a relay agent, `loads` fetches by TFTP and HTTP, `script` reads iPXE's
scripts, `course` puts them in order and ends in a verdict.
"""
