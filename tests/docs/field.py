"""What is known of clients in the field, row by row: who answers for it here, and which test shows it.

A row names ids of `boot.quirks` and `boot.rules`, and tests by pytest's ids, or says why it is none of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

QUIRKS = "tests/boot/test_quirks.py"


@dataclass(frozen=True, slots=True)
class Row:
    """A client or a situation, what it does, and what we have for it."""

    client: str
    behaviour: str
    ids: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    """Names in `QUIRKS`, or whole ids of pytest."""
    not_ours: str = ""
    """Why nothing, or not all, of it is done here."""

    @property
    def test_ids(self) -> tuple[str, ...]:
        """Its tests as pytest names them."""
        return tuple(name if "::" in name else f"{QUIRKS}::{name}" for name in self.tests)


ROWS: tuple[Row, ...] = (
    Row(
        "BIOS PXE",
        "waits for a boot menu unless option 43 tells it to skip that",
        ("bios-pxe", "no-option-43", "server-everywhere"),
        ("test_a_bios_rom_is_told_to_load_the_file_of_this_offer", "test_option_43_can_be_left_out"),
    ),
    Row(
        "Some UEFI, with a proxyDHCP server",
        "ignores offers whose option 43 skips the menu; asks again on port 4011",
        ("uefi-pxe",),
        (
            "test_uefi_pxe_gets_neither_60_nor_43_and_the_file_at_once",
            "tests/boot/test_rules.py::test_uefi_beside_another_server_asks_port_4011",
        ),
    ),
    Row(
        "UEFI boot menus",
        "do not work in much firmware",
        ("uefi-pxe",),
        ("test_uefi_pxe_gets_neither_60_nor_43_and_the_file_at_once",),
    ),
    Row(
        "Architectures 7 and 9",
        "are both said by x64 firmware, because RFC 4578 swapped them",
        ("ebc-is-x64",),
        ("test_bytecode_architectures_are_x64",),
    ),
    Row(
        "Option 60",
        "ROMs, iPXE and UEFI HTTP boot take offers of their own class only",
        ("bios-pxe", "ipxe", "uefi-http", "option-60", "option-43"),
        (
            "test_a_bios_rom_is_told_to_load_the_file_of_this_offer",
            "test_ipxe_is_told_its_class_not_to_wait_and_whom_to_prefer",
            "test_option_60_can_be_forced_for_uefi_with_the_43_that_edk2_needs",
            "test_option_43_can_be_forced",
        ),
    ),
    Row(
        "Ampere eMAG",
        "ignores the file name where the reply says PXEClient",
        ("uefi-pxe", "no-option-60"),
        ("test_an_ampere_emag_gets_no_class_whatever_it_boots", "test_option_60_can_be_left_out"),
    ),
    Row(
        "EDK2 HTTP boot",
        "takes an offer only with class HTTPClient and a URL; option 55 may be junk; "
        "host names need a name server",
        ("uefi-http", "urls-with-addresses", "option-55-distrusted"),
        (
            "test_uefi_http_boot_gets_class_and_url_though_it_asks_for_neither",
            "tests/boot/test_rules.py::test_urls_name_an_address_and_the_script_ends_in_ipxe",
        ),
    ),
    Row(
        "iPXE after UEFI HTTP boot",
        "has no name server where the firmware hands none on",
        ("urls-with-addresses",),
        ("tests/boot/test_rules.py::test_urls_name_an_address_and_the_script_ends_in_ipxe",),
    ),
    Row(
        "Option 97",
        "is left out by some ROMs, and has to be 17 octets where it comes back",
        ("uuid-comes-back",),
        (
            "tests/boot/test_rules.py::test_a_uuid_comes_back_and_a_bad_or_missing_one_is_no_reason_for_silence",
        ),
    ),
    Row(
        "Small replies",
        "are dropped by some ROMs",
        ("padded-to-300",),
        ("tests/boot/test_rules.py::test_replies_are_padded_and_never_overloaded",),
    ),
    Row(
        "Option 57",
        "counts the headers of IP and UDP; some firmware fills it with junk",
        ("option-57-minus-28", "small-replies"),
        (
            "tests/boot/test_rules.py::test_option_57_counts_the_headers_of_ip_and_udp",
            "test_a_nodes_replies_can_be_kept_small",
        ),
    ),
    Row(
        "A NUL behind options 66 and 67",
        "is needed by buggy ROMs, and breaks option 66 for a Raspberry Pi 3",
        ("nul-at-the-end", "no-nul", "raspberry-pi"),
        (
            "tests/boot/test_rules.py::test_the_server_stands_wherever_some_firmware_looks",
            "test_the_nul_of_66_and_67_can_be_left_out",
            "test_a_raspberry_pi_sees_its_menu_and_no_nul",
        ),
    ),
    Row(
        "Option 52 (overload)",
        "cannot be read by many ROMs",
        ("never-overload",),
        ("tests/boot/test_rules.py::test_replies_are_padded_and_never_overloaded",),
    ),
    Row(
        "Where ROMs look for the TFTP server",
        "siaddr, 66, 150 or sname",
        ("server-everywhere",),
        ("tests/boot/test_rules.py::test_the_server_stands_wherever_some_firmware_looks",),
    ),
    Row(
        "No option 54 or siaddr in a proxyDHCP offer",
        "makes the client broadcast to port 4011",
        ("server-everywhere",),
        ("tests/boot/test_rules.py::test_an_offer_beside_another_server_names_us_in_54_and_siaddr",),
    ),
    Row(
        "Replies to a client without an address",
        "cannot be sent by a plain UDP socket; some clients need broadcast and do not say so",
        ("frame-or-broadcast", "broadcast"),
        (
            "tests/boot/test_rules.py::test_a_client_is_reached_as_its_broadcast_flag_says",
            "test_a_nodes_replies_can_go_by_broadcast",
        ),
    ),
    Row(
        "NAK",
        "has to be broadcast, through a relay agent with the flag set",
        ("nak-by-broadcast",),
        ("tests/boot/test_rules.py::test_a_nak_goes_by_broadcast_and_through_a_relay_with_the_flag",),
    ),
    Row(
        "Junk in ciaddr of a DISCOVER",
        "leads a server to the wrong subnet",
        ("ciaddr-of-discover-ignored",),
        ("tests/boot/test_rules.py::test_junk_in_ciaddr_of_a_discover_counts_nothing",),
    ),
    Row(
        "REQUEST without 50 and ciaddr, DECLINE and RELEASE without 54",
        "are sent by broken clients",
        ("incomplete-requests-taken",),
        (
            "tests/boot/test_rules.py::test_a_request_without_50_54_and_ciaddr_is_taken",
            "tests/boot/test_rules.py::test_decline_and_release_without_a_server_are_taken",
        ),
    ),
    Row(
        "Client identifiers",
        "change between firmware, iPXE and system, which costs a second lease elsewhere",
        ("mac-first", "short-lease-for-firmware"),
        (
            "tests/boot/test_rules.py::test_one_address_for_firmware_ipxe_and_system_whatever_identifier_they_send",
        ),
    ),
    Row(
        "Option 61 that comes back",
        "is RFC 6842, and refused by older clients",
        ("client-id-comes-back", "no-option-61"),
        (
            "tests/boot/test_rules.py::test_the_captured_client_identifier_comes_back",
            "test_the_client_identifier_can_be_kept_from_coming_back",
        ),
    ),
    Row(
        "Strings with a NUL from Windows",
        "want a NUL in the reply's strings as well",
        ("nul-strings",),
        ("test_a_client_whose_strings_end_in_nul_gets_such_strings",),
    ),
    Row(
        "Option 77 (user class)",
        "is counted as in RFC 3004, or plain text",
        ("user-class-both-ways",),
        ("tests/boot/test_rules.py::test_ipxe_is_known_by_its_user_class_counted_or_not",),
    ),
    Row(
        "iPXE's option 175",
        "tells what it can do (13 hex: HTTP); b0 = 1 saves two seconds; a program for iPXE may loop for ever",
        ("ipxe", "ipxe-without-http", "ipxe-gets-the-script", "gpxe"),
        (
            "test_ipxe_is_told_its_class_not_to_wait_and_whom_to_prefer",
            "test_ipxe_without_http_loads_ours_which_then_gets_the_script",
            "test_ipxe_in_a_rom_and_our_own_get_the_script_and_never_a_program",
            "test_no_name_in_a_nodes_file_makes_the_chain_endless",
            "test_gpxe_loads_our_ipxe",
        ),
    ),
    Row(
        "iPXE with two servers",
        "takes the offer with the highest priority (175.1)",
        ("ipxe",),
        ("test_ipxe_is_told_its_class_not_to_wait_and_whom_to_prefer",),
    ),
    Row(
        "Firmware with a built-in iPXE",
        "wants a URL that ends in .ipxe",
        ("script-ends-in-ipxe",),
        ("tests/boot/test_rules.py::test_urls_name_an_address_and_the_script_ends_in_ipxe",),
    ),
    Row(
        "iPXE in UEFI",
        "needs `initrd=` on the kernel's command line; syslog by address only; TLS with RSA only",
        ("initrds-on-the-command-line",),
        ("tests/boot/test_ipxe.py::test_the_command_line",),
        "No host name goes into options or URLs, and nodes fetch over HTTP.",
    ),
    Row(
        "GRUB",
        "knows no proxyDHCP, and fetches many modules",
        ("server-everywhere",),
        ("tests/boot/test_rules.py::test_grub_finds_the_server_in_siaddr",),
        "No GRUB is built in; a standalone image is a node's `boot.program`.",
    ),
    Row(
        "Raspberry Pi",
        "says that it is a BIOS, wants a menu `Raspberry Pi Boot`, leaves 60 out of its REQUEST, and "
        "asks for SERIAL/start4.elf",
        ("raspberry-pi", "firmware-without-class"),
        (
            "test_a_raspberry_pi_sees_its_menu_and_no_nul",
            "test_a_raspberry_pi_without_class_in_its_request_is_the_same_firmware",
            "test_the_system_of_a_raspberry_pi_boots_nothing",
            "test_no_other_machine_that_says_architecture_0_is_a_raspberry_pi",
        ),
        "Files by serial number are folders of `files_dir`: a Pi tries its folder first, then the top.",
    ),
    Row(
        "U-Boot",
        "says architecture 21 to 24, or its class alone; asks for files of its own names; takes one initrd",
        ("u-boot", "u-boot-by-architecture"),
        (
            "test_u_boot_is_known_by_its_architecture_too",
            "test_u_boot_gets_the_program_of_its_architecture_when_it_asks_as_uefi",
            "test_u_boot_finds_its_server_and_is_given_no_file",
            "test_u_boot_gets_a_program_that_the_operator_brought",
        ),
        "What pxelinux and U-Boot are told by TFTP names one initrd.",
    ),
    Row(
        "dnsmasq in front (pxe-service)",
        "appends .0 to a name without suffix",
        ("script-with-layer",),
        ("tests/web/boot/test_site.py::test_scripts_come_from_the_networks_address",),
    ),
    Row(
        "TFTP size probe",
        "opens, aborts, and opens again",
        ("tftp-size-probe",),
        (
            "tests/boot/test_rules.py::test_edk2_asks_the_size_first_and_its_blocks_fit_into_a_frame",
            "tests/tftp/test_server.py::test_a_question_for_the_size_is_no_failed_transfer",
        ),
    ),
    Row(
        "TFTP block size",
        "above Ethernet's is fragmented, which ROMs cannot put together",
        ("tftp-blksize-clamped",),
        ("tests/boot/test_rules.py::test_edk2_asks_the_size_first_and_its_blocks_fit_into_a_frame",),
    ),
    Row(
        "TFTP names",
        "come with backslashes, in upper case, or absolute",
        ("tftp-names",),
        ("tests/boot/test_rules.py::test_tftp_names_of_every_style_lead_to_one_file",),
    ),
    Row(
        "Addresses that end in .0 or .255",
        "do not work with Windows and old devices",
        ("edges-never-leased",),
        ("tests/boot/test_rules.py::test_no_dynamic_address_ends_in_0_or_255",),
    ),
    Row(
        "Ranges drained by ROMs",
        "which take a lease that nobody uses a minute later",
        ("short-lease-for-firmware",),
        ("tests/boot/test_rules.py::test_firmware_gets_the_short_lease",),
    ),
    Row(
        "pxelinux",
        "needs options 209 and 210, for which the ROM did not ask",
        ("option-55-distrusted",),
        ("tests/boot/test_rules.py::test_pxelinux_gets_its_options_though_nobody_asks",),
    ),
)
"""Every client and situation that we know of, in the order in which a boot meets them."""
