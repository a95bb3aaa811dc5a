"""What applies to everybody, because some client needs it: behaviours, and the code that has them.

Beside the quirks of `boot.quirks`, which apply to some. docs/quirks.md is written from both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One behaviour, whom it is for, what it is, and who found it."""

    id: str
    match: str
    effect: str
    where: str
    """The code that has it, as module:name."""
    source: str


RULES: tuple[Rule, ...] = (
    Rule(
        "ebc-is-x64",
        "architecture 9, and 17 over HTTP",
        "the x64 program",
        "netboot.boot.firmware:PROGRAMS",
        "RFC 4578 erratum 1625 (7 and 9 swapped); dnsmasq CHANGELOG; MAAS LP:1768034",
    ),
    Rule(
        "ipxe-gets-the-script",
        "iPXE, in a ROM or chain-loaded",
        "the script's URL and never a program, which would load itself for ever",
        "netboot.boot.firmware:first_stage",
        "seen with Debian's undionly.kpxe from QEMU's ROM: identical packets",
    ),
    Rule(
        "firmware-without-class",
        "option 93, or class U-Boot..., without PXEClient and HTTPClient",
        "answered as PXE firmware",
        "netboot.dhcp.options:client_of",
        "RFC 4578 section 2; raspberrypi/rpi-eeprom 82 (its REQUEST)",
    ),
    Rule(
        "user-class-both-ways",
        "option 77",
        "counted as RFC 3004 has it, or plain text",
        "netboot.dhcp.options:client_of",
        "RFC 3004; iPXE dhcp.c; dnsmasq rfc2131.c",
    ),
    Rule(
        "server-everywhere",
        "all that boot",
        "our address in siaddr, sname, 54 and 66, for TFTP in 150 too; the file in header and 67",
        "netboot.boot.firmware:first_stage",
        "RFC 2132 9.4, 9.5; RFC 5859; Ironic pxe_utils.py; Neutron LP:1723354; GRUB (reads siaddr)",
    ),
    Rule(
        "nul-at-the-end",
        "all that boot",
        "66 and 67 end with a NUL; header fields are filled with zeros",
        "netboot.boot.firmware:first_stage",
        "dnsmasq rfc2131.c (do_options); netbootxyz/netboot.xyz 1198",
    ),
    Rule(
        "never-overload",
        "everybody",
        "option 52 is read and never written",
        "netboot.dhcp.wire:encode_reply",
        "RFC 2132 9.3; dnsmasq --dhcp-no-override",
    ),
    Rule(
        "padded-to-300",
        "everybody",
        "replies have 300 octets at least, zeros after the END option",
        "netboot.dhcp.wire:encode_reply",
        "RFC 951 section 3; dnsmasq (MIN_PACKETSZ); raspberrypi/rpi-eeprom 82",
    ),
    Rule(
        "option-57-minus-28",
        "everybody",
        "replies fit into option 57 without the headers of IP and UDP, between 548 and 1472 octets",
        "netboot.dhcp.engine:respond",
        "RFC 2132 9.10; dnsmasq rfc2131.c",
    ),
    Rule(
        "option-55-distrusted",
        "all that boot",
        "boot options, name servers and 208 to 211 though option 55 does not name them",
        "netboot.dhcp.profile:Group",
        "EDK2 HttpBootDhcp4.c (older: uninitialised); raspberrypi/firmware 1001; RFC 5071; "
        "MAAS path_prefix_force",
    ),
    Rule(
        "uuid-comes-back",
        "option 97 of 17 octets",
        "is echoed; one that is missing or of another length is no reason for silence",
        "netboot.dhcp.engine:respond",
        "RFC 4578 2.3; Pixiecore dhcp.go; danderson/pixiecore 21",
    ),
    Rule(
        "client-id-comes-back",
        "option 61",
        "is echoed (quirk no-option-61 turns it off)",
        "netboot.dhcp.engine:respond",
        "RFC 6842",
    ),
    Rule(
        "mac-first",
        "everybody",
        "a lease belongs to the MAC, so that firmware, iPXE and system keep one address",
        "netboot.model.inventory:Inventory.match",
        "coreos/bugs 1432; Kea (match-client-id); MAAS (ignore-client-uids)",
    ),
    Rule(
        "ciaddr-of-discover-ignored",
        "DISCOVER",
        "what stands in ciaddr counts nothing",
        "netboot.dhcp.engine:asked_address",
        "RFC 2131 table 5; dnsmasq rfc2131.c",
    ),
    Rule(
        "incomplete-requests-taken",
        "REQUEST without 50, 54 and ciaddr; DECLINE and RELEASE without 54",
        "are taken as meant for us",
        "netboot.dhcp.engine:state_of",
        "Kea manual, known RFC violations",
    ),
    Rule(
        "nak-by-broadcast",
        "NAK",
        "goes by broadcast, through a relay agent with the broadcast flag set",
        "netboot.dhcp.route:destination",
        "RFC 2131 4.3.2; Kea (adjustRemoteAddr)",
    ),
    Rule(
        "frame-or-broadcast",
        "clients without an address",
        "broadcast where they ask for it, else a link-layer frame to their card",
        "netboot.dhcp.route:destination",
        "RFC 2131 4.1; dnsmasq dhcp.c; iPXE sets no broadcast flag",
    ),
    Rule(
        "edges-never-leased",
        "dynamic addresses",
        ".0 and .255 are never given away",
        "netboot.dhcp.pool:Addresses",
        "dnsmasq dhcp.c (address_allocate); Kea (exclude-first-last-24)",
    ),
    Rule(
        "short-lease-for-firmware",
        "firmware and boot loaders",
        "get `boot_lease`, so that ROMs do not drain a range",
        "netboot.dhcp.engine:lease_time",
        "MAAS dhcpd.conf.template (class PXE, 30 s)",
    ),
    Rule(
        "urls-with-addresses",
        "UEFI HTTP boot, iPXE",
        "URLs name our address and no host: some firmware hands no name server on",
        "netboot.boot.firmware:first_stage",
        "EDK2 HttpBootDhcp4.c; ipxe/ipxe 1316",
    ),
    Rule(
        "script-ends-in-ipxe",
        "firmware with a built-in iPXE",
        "the script's URL ends in .ipxe",
        "netboot.boot.firmware:SCRIPT_PATH",
        "Sidero booter ipxe/handler.go",
    ),
    Rule(
        "script-with-layer",
        "iPXE behind dnsmasq's pxe-service",
        "/boot.ipxe.0 is /boot.ipxe: dnsmasq appends a layer to names without suffix",
        "netboot.web.boot:BootHttp",
        "dnsmasq CHANGELOG; Matchbox api-http.md",
    ),
    Rule(
        "initrds-on-the-command-line",
        "iPXE in UEFI",
        "`initrd=` for each initrd, before the other parameters",
        "netboot.boot.ipxe:kernel_arguments",
        "LTSP ltsp.ipxe; Linux Documentation/admin-guide/efi-stub.rst",
    ),
    Rule(
        "tftp-size-probe",
        "TFTP",
        "a client that asks the size, aborts and asks again made no error",
        "netboot.tftp.server:Server",
        "danderson/pixiecore 21; EDK2 PxeBcMtftp.c",
    ),
    Rule(
        "tftp-blksize-clamped",
        "TFTP",
        "blocks fit into one Ethernet frame, 1468 octets, or the route's MTU",
        "netboot.tftp.transfer:negotiate",
        "RFC 2348; netboot tftp.go",
    ),
    Rule(
        "tftp-names",
        "TFTP",
        "backslashes, doubled and leading slashes, upper case: the same file, never one out of the tree",
        "netboot.tftp.names:open_name",
        "dnsmasq tftp.c; tftpy TftpStates.py",
    ),
)
"""All of them, first what a reply says, then where it goes and what is loaded."""
