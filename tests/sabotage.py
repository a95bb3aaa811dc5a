"""One line for each safety promise: a small change that breaks it, and the test that must then fail.

    python -m tests.sabotage [WORD ...]     all lines, or those whose promise or test holds a word

Each line is applied in a scratch copy of the tree, and taken out again. It is an error when the text to
change is not there just once (the code has moved: move the line with it), when the test stays green twice,
and when pytest ends for another reason than a failed test. `scripts/test` runs them all, two at a time.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 2
"""Lines that are tried at the same time, each in a scratch copy of its own."""
LIMIT = 240.0
"""Seconds that one test may take in its scratch copy."""
TESTS_FAILED = 1
"""pytest's exit status for "some tests failed"; anything else is no proof."""
COPIED = (
    "netboot",
    "tests",
    "images",
    "config",
    "scripts",
    "docs",
    "pyproject.toml",
    "README.md",
    "Dockerfile",
)


@dataclass(frozen=True, slots=True)
class Sabotage:
    """Replace `old` by `new` in `file`; then `test` must fail."""

    promise: str
    file: str
    old: str
    new: str
    test: str


SABOTAGES: tuple[Sabotage, ...] = (
    Sabotage(
        "a credential waits for the silence of the last boot's session: do not listen to it",
        "netboot/web/boot/sessions.py",
        "        if session.is_ours(bearer[1], claim, self._site.secret):",
        "        if False:",
        "tests/web/boot/test_sessions.py::test_a_last_session_that_goes_on_proves_a_second_machine",
    ),
    Sabotage(
        "two machines of one name get no credential: ask nobody",
        "netboot/boot/succession.py",
        "    if spoke > boot.started:",
        "    if False:",
        "tests/boot/test_succession.py::test_a_session_that_speaks_after_the_next_boot_began_proves_two_machines",
    ),
    Sabotage(
        "a declared UUID has to be the claiming system's own: believe the MAC address",
        "netboot/boot/session.py",
        "    if said is None or said not in (node.uuid, other_order(node.uuid)):",
        "    if False:",
        "tests/web/boot/test_claims.py::test_a_machine_without_the_declared_uuid_gets_no_session",
    ),
    Sabotage(
        "a machine at another place than declared gets no secret: forget what its relay agent says",
        "netboot/dhcp/chronicle.py",
        "            self._boots.annotate(boot.id, doubt=doubt)",
        "            pass",
        "tests/dhcp/test_chronicle.py::test_a_boot_tells_what_does_not_fit_its_node",
    ),
    Sabotage(
        "two machines that claim one boot are an alarm: keep it to ourselves",
        "netboot/web/boot/claims.py",
        "            self._alarm(boot, text)\n",
        "            pass\n",
        "tests/web/boot/test_claims.py::test_a_key_is_good_for_one_claim",
    ),
    Sabotage(
        "a session that goes on is an alarm: keep it to ourselves",
        "netboot/web/boot/sessions.py",
        '.journal.note("impostor", error.reason, mac=boot.mac, level=logging.ERROR)\n',
        ".clock()\n",
        "tests/web/boot/test_sessions.py::test_a_last_session_that_goes_on_proves_a_second_machine",
    ),
    Sabotage(
        "what any program may send opens no boot with a secret: believe every port",
        "netboot/dhcp/origin.py",
        "    if origin.port >= PRIVILEGED:\n",
        "    if False:\n",
        "tests/dhcp/test_origin.py::test_a_forged_discover_follows_no_claimed_boot",
    ),
    Sabotage(
        "what any container may send opens no boot with a secret: believe what came to us alone",
        "netboot/dhcp/origin.py",
        "    if giaddr is None and not origin.to_all:\n",
        "    if False:\n",
        "tests/dhcp/test_origin.py::test_a_boot_that_a_forged_message_opens_is_doubted",
    ),
    Sabotage(
        "a machine is no relay agent: believe a leased address",
        "netboot/dhcp/origin.py",
        "    if giaddr is not None and leased:\n",
        "    if False:\n",
        "tests/dhcp/test_origin.py::test_a_boot_that_a_forged_message_opens_is_doubted",
    ),
    Sabotage(
        "a lease is on disk before its ACK: send first",
        "netboot/dhcp/answering.py",
        "            if claim is not None:\n                try:",
        "            self._burst.send(outcome, profile.server, port)\n"
        "            if claim is not None:\n                try:",
        "tests/dhcp/test_answering.py::test_a_lease_is_on_disk_before_its_ack_leaves",
    ),
    Sabotage(
        "a lease is on disk before its ACK: send first, under load and kill -9",
        "netboot/dhcp/answering.py",
        "            if claim is not None:\n                try:",
        "            self._burst.send(outcome, profile.server, port)\n"
        "            if claim is not None:\n                try:",
        "tests/chaos/test_leases.py::test_fifty_kills_lose_no_acknowledged_lease",
    ),
    Sabotage(
        "a commit is on the disk, not only on its way: sync now and then",
        "netboot/store/sqlite/file.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        "tests/chaos/test_disk.py::test_power_cuts_lose_no_acknowledged_lease",
    ),
    Sabotage(
        "the sync comes before the ACK: answer without one",
        "netboot/store/sqlite/file.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = OFF",
        "tests/chaos/test_disk.py::test_the_sync_comes_before_the_ack",
    ),
    Sabotage(
        "an address in use is not offered: ignore who answers the question",
        "netboot/dhcp/allocation.py",
        "        if answer is None or answer.mac in (mac, *profile.macs):\n",
        "        if True:\n",
        "tests/dhcp/test_allocation.py::test_an_address_that_somebody_uses_rests_and_another_is_offered",
    ),
    Sabotage(
        "an answer is a sign of life: take the living holder's address",
        "netboot/dhcp/allocation.py",
        "            await self._lives(other, now)\n",
        "            return False\n",
        "tests/dhcp/test_allocation.py::test_a_holder_that_answers_keeps_its_address",
    ),
    Sabotage(
        "an address in use rests: forget it with a restart",
        "netboot/dhcp/allocation.py",
        "stored = sorted(await self._leases.rests(), key=lambda rest: rest.until)",
        "stored: list[Rest] = []",
        "tests/dhcp/test_allocation.py::test_a_rest_outlives_a_restart",
    ),
    Sabotage(
        "a living machine's lease is released by force alone: never ask for signs of life",
        "netboot/dhcp/server.py",
        "        if not force and (why :=",
        "        if False and (why :=",
        "tests/dhcp/test_allocation.py::test_an_operator_releases_what_nobody_uses_and_the_rest_by_force",
    ),
    Sabotage(
        "no dynamic ACK without its lease: acknowledge though the disk refuses",
        "netboot/dhcp/allocation.py",
        "            if profile.reserved is None:\n                raise\n            text =",
        "            text =",
        "tests/dhcp/test_answering.py::test_a_dynamic_ack_never_leaves_unwritten",
    ),
    Sabotage(
        "an address is never in two hands: ask no card that a reload took from its node",
        "netboot/dhcp/answering.py",
        "occupied = await allocation.kept_by_former_card(lease, client.mac, profile)",
        "occupied = False",
        "tests/dhcp/test_allocation.py::test_two_nodes_that_swap_their_cards_never_share_an_address",
    ),
    Sabotage(
        "an address is never in two hands: give a living holder's away",
        "netboot/dhcp/engine.py",
        "    return occupant.live(now) or now - occupant.last_seen < profile.network.lease\n",
        "    return False\n",
        "tests/dhcp/test_engine.py::test_a_reservation_waits_for_the_living_machine_that_has_its_address",
    ),
    Sabotage(
        "only the holder releases an address: believe anybody's RELEASE",
        "netboot/dhcp/engine.py",
        "    if lease is None or int(lease.address) != request.ciaddr:\n",
        "    if lease is None:\n",
        "tests/dhcp/test_engine.py::test_only_the_holder_gives_an_address_back",
    ),
    Sabotage(
        "a running boot keeps its address: let a RELEASE free it",
        "netboot/dhcp/engine.py",
        "    if boot is not None and boot.ended is None and profile.network.name == lease.network:\n",
        "    if False:\n",
        "tests/dhcp/test_engine.py::test_a_release_never_frees_the_address_of_a_running_boot",
    ),
    Sabotage(
        "only who was offered an address declines it: believe anybody's DECLINE",
        "netboot/dhcp/engine.py",
        "    if lease is None or asked != int(lease.address):\n",
        "    if lease is None:\n",
        "tests/dhcp/test_engine.py::test_only_the_machine_that_was_given_an_address_declines_it",
    ),
    Sabotage(
        "option 82 identifies through a listed relay agent only: believe everybody's",
        "netboot/model/inventory.py",
        "            if client.giaddr in network.relays:\n",
        "            if client.giaddr is not None:\n",
        "tests/dhcp/test_identity.py::test_only_a_listed_relay_agent_is_believed",
    ),
    Sabotage(
        "only a listed relay agent says who we are: believe everybody's server identifier",
        "netboot/dhcp/site.py",
        "if client.server_id is not None and client.giaddr in found.network.relays:",
        "if client.server_id is not None:",
        "tests/dhcp/test_conformance_relays.py::test_an_unlisted_relay_does_not_say_who_we_are",
    ),
    Sabotage(
        "two machines with one UUID never share an address: look at no living holder",
        "netboot/dhcp/identity.py",
        "    return boots or lease.live(now)\n",
        "    return False\n",
        "tests/dhcp/test_identity.py::test_a_second_machine_with_the_same_uuid_is_told_apart",
    ),
    Sabotage(
        "of two that claim one node at once one gets its lease: look before the claim alone",
        "netboot/dhcp/engine.py",
        "    if second:\n",
        "    if False:\n",
        "tests/dhcp/test_identity.py::test_of_two_that_claim_at_once_one_gets_the_lease",
    ),
    Sabotage(
        "another server's client is left alone: refuse it",
        "netboot/dhcp/engine.py",
        '        return Silence("the client chose another server")\n',
        '        return _nak(request, client, profile, "the client chose another server")\n',
        "tests/dhcp/test_conformance.py::test_selecting_another_server_is_silence",
    ),
    Sabotage(
        "a node's tags are stronger than its pool's: swap them",
        "netboot/model/inventory.py",
        "*pool.tags, *node_tags)",
        "*node_tags, *pool.tags)",
        "tests/dhcp/test_site.py::test_the_stronger_of_two_operators_words_wins",
    ),
    Sabotage(
        "a MAC at two places at once is answered at one: believe both",
        "netboot/dhcp/places.py",
        "            return self.here\n",
        "            return None\n",
        "tests/dhcp/test_twins.py::test_a_cloned_mac_at_another_relay_gets_nothing_while_the_first_lives",
    ),
    Sabotage(
        "iPXE never loads itself again and again: hand it a program by its architecture",
        "netboot/boot/firmware.py",
        "        found = base + SCRIPT_PATH\n",
        "        found = PROGRAMS.get(client.arch or 0)\n",
        "tests/boot/test_quirks.py::test_ipxe_in_a_rom_and_our_own_get_the_script_and_never_a_program",
    ),
    Sabotage(
        "iPXE that has HTTP is never taken for one that has none: chain every iPXE",
        "netboot/boot/quirks.py",
        "        return bool(client.ipxe_features) and self.lacks_feature not in client.ipxe_features",
        "        return bool(client.ipxe_features)",
        "tests/boot/test_quirks.py::test_ipxe_without_http_loads_ours_which_then_gets_the_script",
    ),
    Sabotage(
        "a Raspberry Pi reads option 66: end it with a NUL",
        "netboot/boot/quirks.py",
        "            nul=False,\n            asks=",
        "            asks=",
        "tests/boot/test_quirks.py::test_a_raspberry_pi_sees_its_menu_and_no_nul",
    ),
    Sabotage(
        "a node's no-option-60 leaves 60 out: let the node's own options bring it back",
        "netboot/dhcp/profile.py",
        "    decided = group.quirks(client).own.options\n",
        "    decided: frozenset[int] = frozenset()\n",
        "tests/boot/test_quirks.py::test_a_quirk_that_the_node_names_is_stronger_than_its_options_and_program",
    ),
    Sabotage(
        "UEFI is not sent to port 4011: answer it with the class and without 43",
        "netboot/boot/quirks.py",
        "        Effect({60: None, 43: None}),",
        '        Effect({60: b"PXEClient", 43: None}),',
        "tests/boot/test_quirks.py::test_uefi_pxe_gets_neither_60_nor_43_and_the_file_at_once",
    ),
    Sabotage(
        "beside another DHCP server we never give an address: offer one",
        "netboot/dhcp/proxy.py",
        "        yiaddr=0,\n",
        "        yiaddr=request.u32(50) or 0x0A4D0099,\n",
        "tests/dhcp/test_proxy.py::test_an_offer_says_what_to_boot_and_carries_no_address",
    ),
    Sabotage(
        "beside another DHCP server running systems are left alone: answer them",
        "netboot/dhcp/proxy.py",
        "    if client.speaker is Speaker.SYSTEM:\n        return Silence",
        "    if False:\n        return Silence",
        "tests/dhcp/test_proxy.py::test_a_running_system_is_never_answered",
    ),
    Sabotage(
        "only an address seen in a broadcast REQUEST gets a seed: believe port 4011 too",
        "netboot/dhcp/proxying.py",
        "        if sender is None:\n            await self._observed.note(",
        "        if True:\n            await self._observed.note(",
        "tests/dhcp/test_proxy.py::test_a_request_on_port_4011_proves_no_address",
    ),
    Sabotage(
        "an observed address needs its neighbour entry: take it as a lease of ours",
        "netboot/boot/session.py",
        "    looked_at = asker.on_link or asker.observed\n",
        "    looked_at = asker.on_link\n",
        "tests/boot/test_session.py::test_an_address_that_was_only_observed_needs_its_neighbour_entry",
    ),
    Sabotage(
        "admit decides who is answered: ignore it",
        "netboot/dhcp/doorkeeper.py",
        "        if network.admit is not None and (why",
        "        if False and (why",
        "tests/dhcp/test_doorkeeper.py::test_who_is_not_admitted_hears_nothing",
    ),
    Sabotage(
        "limits hold: let everything through",
        "netboot/dhcp/admission.py",
        "        return tokens >= 1\n",
        "        return True\n",
        "tests/dhcp/test_doorkeeper.py::test_new_macs_are_limited_and_nobody_else",
    ),
    Sabotage(
        "a flood of invented machines writes nothing: keep a boot of each",
        "netboot/events/boots.py",
        "            if boot.steps[-1].step in _KNOCKING:\n",
        "            if False:\n",
        "tests/events/test_boots.py::test_a_flood_of_visitors_is_written_nowhere",
    ),
    Sabotage(
        "another DHCP server is reported: look away",
        "netboot/dhcp/rivals.py",
        "        if not expected and now - reported >= REPORT_AGAIN:\n",
        "        if False:\n",
        "tests/dhcp/test_watching.py::test_a_foreign_reply_is_reported",
    ),
    Sabotage(
        "a boot is given at most five credentials: never count",
        "netboot/join/turns.py",
        "if await self._store.count_credential(boot_id, CREDENTIALS):",
        "if True:",
        "tests/join/test_turns.py::test_r6_asking_again_replaces_the_token_at_most_five_times",
    ),
    Sabotage(
        "a lease and a burnt key are on disk before the answer: answer without the commit",
        "netboot/store/sqlite/writer.py",
        "            self._commit(batch)\n        except",
        "            pass\n        except",
        "tests/store/sqlite/test_writer.py::test_no_answer_leaves_before_its_commit",
    ),
    Sabotage(
        "nobody reads what is not on disk yet: show a batch before its commit",
        "netboot/store/sqlite/writer.py",
        "            self._commit(batch)\n        except",
        "            batch.show()\n            self._commit(batch)\n        except",
        "tests/store/sqlite/test_writer.py::test_no_answer_leaves_before_its_commit",
    ),
    Sabotage(
        "a commit survives a power cut: do not wait for the disk",
        "netboot/store/sqlite/file.py",
        "synchronous = FULL",
        "synchronous = OFF",
        "tests/store/sqlite/test_file.py::test_a_commit_waits_for_the_disk",
    ),
    Sabotage(
        "one address has one holder: do not look who is on it",
        "netboot/store/table.py",
        "if occupant.holder != lease.holder and occupant != displaced:",
        "if False:",
        "tests/store/test_memory.py::test_one_address_never_has_two_holders",
    ),
    Sabotage(
        "a claim of a lease that changed meanwhile loses: do not compare",
        "netboot/store/table.py",
        "if current is not seen and current != seen:",
        "if False:",
        "tests/store/test_memory.py::test_a_claim_loses_where_the_holders_lease_has_changed",
    ),
    Sabotage(
        "a boot key is burnt once: let the second claim through",
        "netboot/store/sqlite/claims.py",
        "            if standing is None:\n",
        "            standing = None\n            if standing is None:\n",
        "tests/store/test_memory.py::test_a_key_is_burnt_once",
    ),
    Sabotage(
        "the API answers nobody without a token: skip the check",
        "netboot/web/api/guard.py",
        "return found[0] if said and found else None",
        "return next(iter(tokens), None)",
        "tests/web/api/test_guard.py::test_nothing_is_told_without_a_token",
    ),
    Sabotage(
        "a rebound name does not reach the API: skip the Host check",
        "netboot/web/api/guard.py",
        "        if not foreign:\n",
        "        if True:\n",
        "tests/web/api/test_guard.py::test_a_foreign_host_gets_421",
    ),
    Sabotage(
        "a rebound name does not reach the API in an absolute target: look at Host alone",
        "netboot/web/api/hosts.py",
        "if target else [])",
        "if False else [])",
        "tests/web/api/test_hosts.py::test_an_absolute_target_names_a_host_too",
    ),
    Sabotage(
        "what is no request is repeated nowhere: answer as the library does",
        "netboot/web/api/connection.py",
        "if not isinstance(exc, HttpProcessingError):",
        "if True:",
        "tests/web/api/test_connection.py::test_what_is_no_request_is_answered_and_not_repeated",
    ),
    Sabotage(
        "a viewer changes nothing: skip the look at the role",
        "netboot/web/api/guard.py",
        "if caller.role.may(need):",
        "if True:",
        "tests/web/api/test_roles.py::test_each_role_may_what_the_table_says_and_no_more",
    ),
    Sabotage(
        "a route that nobody listed is not for everybody: let viewers change things by it",
        "netboot/web/api/roles.py",
        "Role.VIEWER if read else Role.ADMIN",
        "Role.VIEWER",
        "tests/web/api/test_roles.py::test_what_no_line_names_is_read_by_viewers_and_changed_by_administrators",
    ),
    Sabotage(
        "one address guesses few tokens: look at all of them",
        "netboot/web/api/guard.py",
        "if wait and not (",
        "if False and not (",
        "tests/web/api/test_guard.py::test_an_address_guesses_few_tokens",
    ),
    Sabotage(
        "a change is in the audit before it is made: write nothing then",
        "netboot/web/api/audit.py",
        "replace(entry, id=await self._store.record_audit(entry))",
        "entry",
        "tests/web/api/test_audit.py::test_nothing_is_changed_that_the_audit_cannot_hold",
    ),
    Sabotage(
        "how a change ended is in the audit before its answer: answer first",
        "netboot/web/api/guard.py",
        "    await auditor.end(entry, answer)\n",
        "    asyncio.get_running_loop().create_task(auditor.end(entry, answer))\n",
        "tests/web/api/test_audit.py::test_how_a_change_ended_is_written_before_its_answer_leaves",
    ),
    Sabotage(
        "a request does not write lines of its own into the log: leave quotes as they are",
        "netboot/web/api/audit.py",
        "else json.dumps(value)\n",
        "else value\n",
        "tests/web/api/test_audit.py::test_nothing_of_a_request_breaks_a_line_or_tells_a_secret",
    ),
    Sabotage(
        "no stranger's tries push a change out of the audit: keep them in one heap",
        "netboot/store/sqlite/audit.py",
        '"DELETE FROM audit WHERE refused = ?1 AND id <= "',
        '"DELETE FROM audit WHERE ?1 >= 0 AND id <= "',
        "tests/store/sqlite/test_audit.py::test_changes_survive_refusals_and_both_are_bounded",
    ),
    Sabotage(
        "a bad tokens file leaves the old one in force: forget the old one",
        "netboot/web/api/access.py",
        '            self._say("api_tokens_refused"',
        '            self._tokens = (self._admin,)\n            self._say("api_tokens_refused"',
        "tests/web/api/test_access.py::test_changed_tokens_are_taken_and_bad_ones_leave_the_old",
    ),
    Sabotage(
        "a token that was taken out of its file opens no more: keep it",
        "netboot/web/api/access.py",
        "        self._tokens = (self._admin, *fresh)",
        "        self._tokens = (*self._tokens, *fresh)",
        "tests/web/api/test_access.py::test_changed_tokens_are_taken_and_bad_ones_leave_the_old",
    ),
    Sabotage(
        "the API beyond the loopback has tls: ask for none",
        "netboot/config/checks/server.py",
        "and not said.tls and not wrote:",
        "and not host:",
        "tests/config/test_checks.py::test_a_bad_file_gives_exactly_the_report_at_its_head[bad-api-elsewhere]",
    ),
    Sabotage(
        "the command line believes no stranger's certificate: believe any",
        "netboot/cli/client.py",
        "    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN\n",
        "    context.verify_mode = ssl.CERT_NONE\n",
        "tests/cli/test_client.py::test_the_own_certificate_is_believed_from_its_own_disk",
    ),
    Sabotage(
        "a token that was taken out is told nothing by an open stream: go on",
        "netboot/web/api/views.py",
        " and request[guard.CALLER] in self._from.tokens()",
        "",
        "tests/web/api/test_views.py::test_a_stream_ends_with_its_token",
    ),
    Sabotage(
        "strangers hold few connections of the API: count none",
        "netboot/web/api/door.py",
        "if self.held(address) >= OF_ONE:",
        "if False:",
        "tests/web/api/test_door.py::test_one_address_holds_few_connections",
    ),
    Sabotage(
        "handshakes leave DHCP its time: shake every hand",
        "netboot/web/api/door.py",
        "if self._context is not None and not",
        "if self._context is None and not",
        "tests/web/api/test_door.py::test_handshakes_of_one_address_are_few",
    ),
    Sabotage(
        "names from the network are text on the page: take them for markup",
        "netboot/web/page/dom.js",
        "if (element.textContent !== value) element.textContent = value;",
        "if (element.textContent !== value) element.innerHTML = value;",
        "tests/interop/test_page.py::test_names_from_the_network_are_text",
    ),
    Sabotage(
        "no secret in log, event, answer or database: do not redact",
        "netboot/events/redact.py",
        "return _SECRET.sub(_mask, text) if",
        "return text if",
        "tests/events/test_canaries.py::test_planted_secrets_are_found_nowhere",
    ),
    Sabotage(
        "a forged DISCOVER continues the boot that is under way: open a new one",
        "netboot/events/boots.py",
        "return (boot if boot.ended is not None else _revived(boot)).superseded_by_discover(now)",
        "return True",
        "tests/events/test_boots.py::test_a_further_discover_is_one_more_stage",
    ),
    Sabotage(
        "no credential before cluster-info is signed by this very token: skip the signature check",
        "netboot/join/kubeadm.py",
        "if tokens.signs(jws, info.kubeconfig, token):",
        "if jws:",
        "tests/join/test_kubeadm.py::test_r5_a_wrong_signature_is_withheld_for_good",
    ),
    Sabotage(
        "no node is sent to a cluster with another authority: skip the comparison",
        "netboot/join/naming.py",
        "if not set(shown) <= set(ours):",
        "if False:",
        "tests/join/test_naming.py::test_r14_the_authority_is_pinned_and_compared",
    ),
    Sabotage(
        "an impostor of a living machine gets nothing: take a renewed Lease for a dead one",
        "netboot/join/presence.py",
        "            return Living()",
        "            return Gone()",
        "tests/join/test_naming.py::test_r19_an_impostor_is_withheld_for_good_and_reported",
    ),
    Sabotage(
        "a cluster that hangs delays no other's tokens and Leases: wait for each",
        "netboot/join/rounds.py",
        "rounds[cluster] = group.create_task(work(cluster))",
        "await work(cluster)",
        "tests/join/test_rounds.py::test_a_cluster_that_hangs_delays_no_other_and_is_not_begun_twice",
    ),
    Sabotage(
        "what others set on a Node object stays: remove every label that is not declared",
        "netboot/cluster/drift.py",
        "for k, v in ours.labels.items() if k not in declared.labels and node.labels.get(k) == v]",
        "for k in node.labels if k not in declared.labels]",
        "tests/cluster/test_drift.py::test_what_is_declared_is_set_and_what_others_set_stays",
    ),
    Sabotage(
        "a node cannot have us take off what others set: believe an annotation that we did not sign",
        "netboot/cluster/drift.py",
        "        if not hmac.compare_digest(",
        "        if False and not hmac.compare_digest(",
        "tests/cluster/test_drift.py::test_a_node_cannot_have_us_remove_what_others_set",
    ),
    Sabotage(
        "with node_actions.labels off hands are off: correct all the same",
        "netboot/cluster/drift.py",
        "    if declared.corrects_labels:\n        labels =",
        "    if True:\n        labels =",
        "tests/cluster/test_drift.py::test_with_both_switches_off_nothing_is_touched",
    ),
    Sabotage(
        "Node objects of machines that are not ours are not touched: do not compare the UUID",
        "netboot/fleet/reconciling.py",
        "        return declared if declared is not None and is_machine(node, declared.uuids) else None",
        "        return declared",
        "tests/fleet/test_reconciling.py::test_a_machine_that_is_not_ours_is_not_touched",
    ),
    Sabotage(
        "a change right behind our own patch is not overlooked: take the patch's answer for the newest",
        "netboot/fleet/watching.py",
        "        if known is not None and known.resource_version == after.resource_version:",
        "        if known is not None:",
        "tests/fleet/test_reconciling.py::test_a_change_right_behind_our_own_is_not_overlooked",
    ),
    Sabotage(
        "nobody is fought over a Node object: correct it every time",
        "netboot/fleet/reconciling.py",
        "        return left > 0",
        "        return False",
        "tests/fleet/test_reconciling.py::test_nobody_is_fought",
    ),
    Sabotage(
        "a machine that nobody declared is turned away over max_nodes: let it in",
        "netboot/fleet/room.py",
        "        if count + len(pending) >= limit:",
        "        if False:",
        "tests/fleet/test_gate.py::test_r20_a_machine_that_nobody_declared_is_turned_away_from_a_full_cluster",
    ),
    Sabotage(
        "machines on their way count for max_nodes: count Node objects alone",
        "netboot/fleet/room.py",
        "        if count + len(pending) >= limit:",
        "        if count >= limit:",
        "tests/fleet/test_gate.py::test_r20_machines_on_their_way_count",
    ),
    Sabotage(
        "joins have their turn by priority: whoever asks first",
        "netboot/fleet/queue.py",
        "        if not any(line for p, line in self._lines.items() if p > priority) and self._take(now):",
        "        if self._take(now):",
        "tests/fleet/test_gate.py::test_when_it_answers_again_priority_decides",
    ),
    Sabotage(
        "a pool admits no more claims than it says: admit them all",
        "netboot/web/boot/claims.py",
        "            if not_yet := self._not_yet(",
        "            if False and self._not_yet(",
        "tests/web/boot/test_claims.py::test_a_pool_admits_so_many_claims_and_the_others_wait",
    ),
    Sabotage(
        "names of nodes are told in declared networks alone: tell everybody",
        "netboot/web/boot/names.py",
        "        if not any(",
        "        if False and not any(",
        "tests/web/boot/test_names.py::test_the_names_of_nodes_are_for_declared_networks",
    ),
    Sabotage(
        "a kubelet is told no label that stops it: tell it all",
        "netboot/model/kubelet.py",
        " for key, value in sorted(labels.items()) if may_set(key))",
        " for key, value in sorted(labels.items()))",
        "tests/model/test_kubelet.py::test_a_kubelet_is_told_only_labels_that_it_may_set",
    ),
    Sabotage(
        "a token is deleted as soon as its node is registered: forget to take it back",
        "netboot/fleet/joining.py",
        "            self._take_back(seen.cluster, seen.boot_id)",
        "            pass",
        "tests/fleet/test_joining.py::test_a_join_is_followed_to_ready",
    ),
    Sabotage(
        "a node gets a certificate for its own name alone: take any subject",
        "netboot/join/csr.py",
        "    if len(subject) != len(wanted) or set(subject) != wanted:",
        "    if False:",
        "tests/join/test_certificate.py::test_a_request_for_anything_else_is_withheld_for_good",
    ),
    Sabotage(
        "a node's certificate request has no alternative names: pass them on",
        "netboot/join/csr.py",
        "    if further:",
        "    if False:",
        "tests/join/test_csr.py::test_a_request_for_anything_else_is_refused",
    ),
    Sabotage(
        "the sender of a certificate request has its key: believe it",
        "netboot/join/csr.py",
        "    if not signed:",
        "    if False:",
        "tests/join/test_csr.py::test_a_request_that_is_not_signed_by_its_own_key_is_refused",
    ),
    Sabotage(
        "a certificate is for the node's own key: hand over any",
        "netboot/join/csr.py",
        "    if key != request.key:",
        "    if False:",
        "tests/join/test_certificate.py::test_a_certificate_for_another_key_is_not_handed_over",
    ),
    Sabotage(
        "the authority's key never leaves: hand the operator's file on as it is",
        "netboot/join/static_files.py",
        "    return Certificates(signer.bundle, ",
        "    return Certificates(join.ca_certificate.read_bytes(), ",
        "tests/join/test_static_files.py::test_the_authoritys_key_never_leaves",
    ),
    Sabotage(
        "a bootstrap kubeconfig goes once it has served: keep it",
        "images/agent/kubelet.sh",
        '			rm -f "$NB_BOOTSTRAP"',
        "			true",
        "tests/images/test_agent.py::test_tls_bootstrap_removes_the_token_once_the_kubelet_has_its_certificate",
    ),
    Sabotage(
        "the kubelet's key stays on the machine: send it with the request",
        "images/initrd/initrd.sh",
        '	json_string <"$NB_RUN/kubelet.csr"',
        '	cat "$NB_RUN/kubelet.csr" "$NB_RUN/kubelet.key" | json_string',
        "tests/images/test_initrd.py::test_for_join_method_certificate_the_node_makes_a_key_and_sends_a_request",
    ),
    Sabotage(
        "a token's id is recorded before it is created: record nothing",
        "netboot/join/minting.py",
        "            await self._store.record_token(record)",
        "            pass",
        "tests/join/test_minting.py::test_r10_a_post_whose_answer_was_lost_is_taken_back",
    ),
    Sabotage(
        "a token's certificate is for its own node alone: take any subject",
        "netboot/cluster/approval.py",
        "    if len(subject) != 2 or set(subject) != {",
        "    if not subject and set(subject) != {",
        "tests/fleet/test_approving.py::test_a_token_gets_no_certificate_of_another_node_and_is_taken_back",
    ),
    Sabotage(
        "a second certificate request of one token is an alarm: approve it too",
        "netboot/cluster/approval.py",
        "    if first != request.uid:",
        "    if not first:",
        "tests/fleet/test_approving.py::test_a_second_request_of_one_token_is_denied_after_a_restart_too",
    ),
    Sabotage(
        "who was first stands on disk: let the last request be the first",
        "netboot/store/sqlite/bindings.py",
        "update = f\"UPDATE bindings SET request = ? {where} AND request = ''\"",
        'update = f"UPDATE bindings SET request = ? {where}"',
        "tests/store/sqlite/test_bindings.py::"
        "test_the_first_request_of_a_token_is_the_first_after_a_restart_too",
    ),
    Sabotage(
        "requests of tokens that are not ours are left alone: look at every group",
        "netboot/cluster/approval.py",
        "if request.signer != CLIENT_SIGNER or NODE_BOUND not in request.groups:",
        "if request.signer != CLIENT_SIGNER:",
        "tests/cluster/test_approval.py::test_requests_of_others_are_left_alone",
    ),
    Sabotage(
        "no certificate for a name that is Ready on another machine: do not look at the machine",
        "netboot/cluster/approval.py",
        'if node is not None and node.ready == "True" and not _same_machine(node, binding):',
        "if False:",
        "tests/fleet/test_approving.py::test_a_node_that_lives_elsewhere_is_not_replaced",
    ),
    Sabotage(
        "a misused token's node gets no further credential: forget to hold the name",
        "netboot/fleet/approving.py",
        "        await self._store.hold(binding.cluster, binding.token_id, text)",
        "        pass",
        "tests/fleet/test_approving.py::test_a_token_gets_no_certificate_of_another_node_and_is_taken_back",
    ),
    Sabotage(
        "a serving certificate has the node's own names alone: approve any name",
        "netboot/cluster/approval.py",
        "    if strange:",
        "    if False:",
        "tests/cluster/test_approval.py::test_a_name_that_nobody_knows_keeps_the_request_pending",
    ),
    Sabotage(
        "a start empties no name server's list: serve what is known so far",
        "netboot/web/boot/names.py",
        "        if content is None:",
        "        if False:",
        "tests/web/boot/test_names.py::test_no_name_server_is_given_an_empty_list_after_a_start",
    ),
    Sabotage(
        "a Node object's own word makes nobody another machine: believe every address",
        "netboot/fleet/machines.py",
        'if "*" not in name and not self.owner(name, node)',
        "if name",
        "tests/fleet/test_machines.py::test_a_node_object_cannot_make_anothers_name_its_own",
    ),
    Sabotage(
        "an account that may read Secrets is told of: ask for no danger",
        "netboot/fleet/doctor.py",
        "            if may\n",
        "            if False\n",
        "tests/fleet/test_doctor.py::test_an_account_that_may_too_much_is_told_of",
    ),
    Sabotage(
        "a script with its seed goes to the leased address and MAC only: ignore the source address",
        "netboot/web/boot/scripts.py",
        "if lease is None or lease.mac != mac or not site.askers.held(lease, boot):",
        "if lease is None:",
        "tests/web/boot/test_scripts.py::test_a_leased_machine_cannot_ask_for_another_ones_script",
    ),
    Sabotage(
        "a boot key must be the right one",
        "netboot/boot/session.py",
        "            if same(boot_key(secret, boot.id), key):",
        "            if True:",
        "tests/web/boot/test_claims.py::test_a_seed_is_for_the_leased_address_only",
    ),
    Sabotage(
        "a claim burns its key on disk before the answer: skip burn",
        "netboot/web/boot/claims.py",
        "standing = await self._site.store.burn(claim)",
        "standing = claim",
        "tests/web/boot/test_claims.py::test_the_key_is_burnt_on_disk_before_the_answer",
    ),
    Sabotage(
        "a key is good for one claim: allow a second claim",
        "netboot/boot/session.py",
        '    if claim is not None:\n        raise Refused(404, f"the key of',
        '    if False:\n        raise Refused(404, f"the key of',
        "tests/boot/test_session.py::test_a_claim_is_spent_once_and_repeated_for_a_minute",
    ),
    Sabotage(
        "the identical claim is repeated for a minute only",
        "netboot/boot/session.py",
        "        and now - standing.claimed <= REPEAT_SECONDS\n",
        "",
        "tests/web/boot/test_claims.py::test_a_key_is_good_for_one_claim",
    ),
    Sabotage(
        "on-link the kernel's neighbour entry decides: skip the neighbour check",
        "netboot/boot/session.py",
        "return not looked_at or (asker.lease is not None and asker.neighbour == asker.lease.mac)",
        "return True",
        "tests/web/boot/test_scripts.py::test_script_seed_and_claim_want_the_neighbours_mac",
    ),
    Sabotage(
        "a session secret is checked",
        "netboot/boot/session.py",
        "if not same(session, session_secret(secret, claim.boot_id, claim.certificate_sha256)):",
        "if False:",
        "tests/web/boot/test_sessions.py::test_a_wrong_or_foreign_session_gets_404",
    ),
    Sabotage(
        "a newer boot's claim ends the older session",
        "netboot/web/boot/sessions.py",
        "if newest is not None and newest.id != boot_id and await",
        "if False and newest is not None and await",
        "tests/web/boot/test_sessions.py::test_a_newer_claim_ends_the_session_though_a_crash_hid_it",
    ),
    Sabotage(
        "the network's lease is on disk before the claim's answer",
        "netboot/web/boot/claims.py",
        "            await self._lengthen(lease, assignment.network)\n",
        "",
        "tests/web/boot/test_claims.py::test_a_claim_is_refused_while_the_lease_cannot_be_written",
    ),
    Sabotage(
        "no request can be read in two ways: accept Transfer-Encoding",
        "netboot/web/http1.py",
        'if "transfer-encoding" in headers:',
        "if False:",
        "tests/web/test_http1.py::test_request_smuggling_is_impossible",
    ),
    Sabotage(
        "an operator's file stays inside the node's root",
        "netboot/boot/node_config.py",
        ' or ".." in parts',
        "",
        "tests/boot/test_node_config.py::test_a_path_cannot_lead_out_of_root",
    ),
    Sabotage(
        "nothing that a machine says becomes a line of a script",
        "netboot/boot/ipxe.py",
        '    plain = _UNSPOKEN.sub("?", " ".join(text.split()))',
        "    plain = text",
        "tests/boot/test_ipxe.py::test_prose_cannot_become_a_command",
    ),
    Sabotage(
        "a configuration is sealed to its node",
        "netboot/web/boot/sessions.py",
        "sealed = seal(plain, recipient(live.claim.certificate))",
        "sealed = plain",
        "tests/web/boot/test_boot.py::test_secrets_are_found_nowhere_but_at_their_node",
    ),
    Sabotage(
        "no name leads out of what is offered: let .. pass",
        "netboot/tree.py",
        """if ".." in parts or""",
        "if",
        "tests/test_tree.py::test_a_name_that_leads_out_or_is_too_long_is_refused",
    ),
    Sabotage(
        "no link is followed: drop RESOLVE_NO_SYMLINKS",
        "netboot/tree.py",
        "0x02 | 0x04 | 0x08",
        "0x02 | 0x08",
        "tests/test_tree.py::test_no_link_is_followed_at_the_end_or_on_the_way",
    ),
    Sabotage(
        "no link is followed on kernels without openat2: drop O_NOFOLLOW on the way",
        "netboot/tree.py",
        "os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW",
        "os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC",
        "tests/test_tree.py::test_no_link_is_followed_at_the_end_or_on_the_way",
    ),
    Sabotage(
        "an image offers its own files alone",
        "netboot/tree.py",
        "        and parts[2] in _IMAGE_FILES\n",
        "",
        "tests/test_tree.py::test_an_image_offers_its_files_and_nothing_else",
    ),
    Sabotage(
        "TFTP writes are refused",
        "netboot/tftp/server.py",
        "if request.opcode != Opcode.RRQ:",
        "if False:",
        "tests/tftp/test_server.py::test_write_requests_are_refused",
    ),
    Sabotage(
        "no sorcerer's apprentice: answer every repeated ACK",
        "netboot/tftp/transfer.py",
        "return self._repeated_ack(now)",
        "return self._again(now)",
        "tests/tftp/test_transfer.py::test_repeated_and_late_acks_bring_nothing_in_lockstep",
    ),
    Sabotage(
        "no TFTP name leads out of what is offered: let `..` pass",
        "netboot/tree.py",
        'if ".." in parts or "\\0" in name:',
        'if "\\0" in name:',
        "tests/tftp/test_server.py::test_a_way_out_of_the_tree_is_refused_and_reported",
    ),
    Sabotage(
        "TFTP in text mode is refused: serve it as if it were octet",
        "netboot/tftp/server.py",
        'if request.mode != "octet":',
        "if False:",
        "tests/tftp/test_server.py::test_netascii_is_refused_with_a_clear_text",
    ),
    Sabotage(
        "one client does not take all TFTP transfers: never count its own",
        "netboot/tftp/server.py",
        "if self._clients.get(peer[0], 0) >= self._per_client:",
        "if False:",
        "tests/tftp/test_server.py::test_transfers_of_one_client_are_limited",
    ),
    Sabotage(
        "a forged TFTP request costs its victim three packets: send them until patience ends",
        "netboot/tftp/transfer.py",
        "if not self.answered and self._first_packets >= MAX_UNANSWERED:",
        "if False:",
        "tests/tftp/test_transfer.py::test_a_forged_request_costs_its_victim_three_packets",
    ),
    Sabotage(
        "a window leaves after the OACK was answered: send data with it",
        "netboot/tftp/transfer.py",
        "        self._oack_pending = bool(negotiated.answer)\n",
        "        self._oack_pending = False\n",
        "tests/tftp/test_transfer.py::test_an_oack_waits_for_ack_zero",
    ),
    Sabotage(
        "on one port transfers are told apart by address and port: by the address alone",
        "netboot/tftp/server.py",
        "            running = running_of((fd, peer)) if self._single_port else None\n",
        "            mine = (r for (_, p), r in self._transfers.items() if p[0] == peer[0])\n"
        "            running = next(mine, None) if self._single_port else None\n",
        "tests/tftp/test_server.py::test_transfers_of_one_address_are_told_apart_by_their_ports",
    ),
    Sabotage(
        "no machine gets another's script by TFTP: believe the MAC in the name",
        "netboot/tftp/scripts.py",
        "asked.mac not in (None, lease.mac) or not",
        "not",
        "tests/tftp/test_scripts.py::test_a_machine_gets_no_other_machines_script",
    ),
    Sabotage(
        "a claim without key needs a script that was delivered by TFTP: asking is enough",
        "netboot/tftp/scripts.py",
        "        self._handed[str(lease.address), name] = boot.id\n",
        '        self._boots.step(boot.id, "script", detail=session.BY_TFTP)\n',
        "tests/tftp/test_scripts.py::test_only_a_delivered_script_lets_a_boot_be_claimed_without_a_key",
    ),
    Sabotage(
        "a cold file stops no other TFTP transfer: read it where it is sent",
        "netboot/tftp/server.py",
        "datagrams = source.datagrams(action.first, action.blocks, wait)",
        "datagrams = source.datagrams(action.first, action.blocks, True)",
        "tests/tftp/test_cold.py::test_a_slow_disk_stops_no_other_transfer",
    ),
    Sabotage(
        "the body of a refused request is never read as the next request",
        "netboot/web/static.py",
        "keep = head is not None and head.keep_alive and head.length == 0",
        "keep = head is not None and head.keep_alive",
        "tests/web/test_bulk.py::test_other_methods_are_refused_with_their_remedy",
    ),
    Sabotage(
        "a storm is first come, first served: let whoever asks take a free seat",
        "netboot/boot/storm.py",
        "if before < self._free(now):",
        "if self._free(now) > 0:",
        "tests/boot/test_storm.py::test_a_free_seat_waits_for_the_machine_in_front",
    ),
    Sabotage(
        "a cold file stops nobody else: send it from the loop",
        "netboot/web/bulk.py",
        "        if is_cached(file, offset, length):\n            return True",
        "        return True",
        "tests/web/test_bulk.py::test_a_cold_file_is_fetched_beside_the_loop",
    ),
    Sabotage(
        "an address has one share of connections: count those over HTTPS apart",
        "netboot/proc/supervisor.py",
        "return sum(s.helper.clients[client] for s in self._slots if s.helper)",
        'return sum(s.helper.clients[client] for s in self._slots if s.kind == "bulk" and s.helper)',
        "tests/web/test_https.py::test_one_address_holds_its_share_of_connections_over_all_workers_and_both_schemes",
    ),
    Sabotage(
        "half a handshake counts: count who has spoken TLS",
        "netboot/web/https.py",
        '        self._line.tell("opened", {"client": address})\n',
        "",
        "tests/web/test_https.py::test_half_a_handshake_counts_as_a_connection",
    ),
    Sabotage(
        "images over TLS share the bandwidth: send as fast as it goes",
        "netboot/web/https.py",
        '        if download.path.startswith("/images/"):\n            while',
        '        if download.path.startswith("/nowhere/"):\n            while',
        "tests/web/test_https.py::test_images_over_tls_share_the_bandwidth_too",
    ),
    Sabotage(
        "TLS gives its memory back after a storm: keep what the allocator has",
        "netboot/web/https.py",
        "            give_back()",
        "            pass",
        "tests/web/test_https.py::test_memory_of_downloads_is_given_back_when_they_have_ended",
    ),
    Sabotage(
        "a relayed request keeps its client's address: take the helper's word for another one",
        "netboot/web/https.py",
        '"client": client.address, "local": client.local}',
        '"client": "127.0.0.9", "local": client.local}',
        "tests/web/test_https.py::test_files_and_controls_answers_share_one_connection",
    ),
    Sabotage(
        "a node tells its secrets to the operator's server alone: believe any certificate",
        "images/initrd/lib.sh",
        "-no-CApath -no-CAstore -verify_return_error -no_check_time",
        "-no-CApath -no-CAstore -no_check_time",
        "tests/images/test_initrd.py::test_a_server_that_is_not_trusted_gets_no_claim",
    ),
    Sabotage(
        "a clock that is set back keeps nobody waiting: queue by the time of day",
        "netboot/web/boot/__init__.py",
        "steady or clock",
        "clock",
        "tests/web/boot/test_queue.py::test_a_clock_that_is_set_back_keeps_nobody_waiting",
    ),
    Sabotage(
        "a flood of names asks control a bounded number of times: ask each time",
        "netboot/tftp/questions.py",
        " or self._asked > _MAX_ASKS",
        "",
        "tests/tftp/test_questions.py::test_a_flood_asks_control_a_bounded_number_of_times",
    ),
    Sabotage(
        "a script that is known goes to whom the link shows: do not look",
        "netboot/web/boot/known.py",
        "or not session.proved(asker):",
        "or False:",
        "tests/web/boot/test_known.py::test_a_script_is_forgotten_where_a_fact_has_changed",
    ),
    Sabotage(
        "what is executed later gains no right",
        "netboot/proc/privileges.py",
        "    set_capabilities(keeping)\n    no_new_privs()",
        "    set_capabilities(keeping)",
        "tests/proc/test_privileges.py::test_a_process_without_a_target_user_drops_every_capability",
    ),
    Sabotage(
        "while control restarts, running downloads go on: end them with it",
        "netboot/web/bulk.py",
        "                if not connection.sending:\n                    self._close(connection)",
        "                self._close(connection)",
        "tests/proc/test_supervisor.py::test_a_killed_control_lets_downloads_finish_and_frees_its_ports",
    ),
    Sabotage(
        "shadow mode sends nothing: keep root, bind the port and answer",
        "netboot/observe.py",
        "        _step_down(config)\n",
        "        _Kept.frame = lambda self, payload, mac, to, source: (\n"
        "            __import__('netboot.net').net.open_endpoint(self.name)"
        ".frame(payload, mac, to, source))\n",
        "tests/interop/test_shadow.py::test_nothing_ever_leaves",
    ),
    Sabotage(
        "shadow mode keeps no right: stay root",
        "netboot/observe.py",
        "        _step_down(config)\n",
        "",
        "tests/interop/test_shadow.py::test_nothing_ever_leaves",
    ),
    Sabotage(
        "a proposal loses no card: write a machine's first MAC only",
        "netboot/shadow/propose.py",
        "macs: [{', '.join(c.mac for c in cards)}]",
        "macs: [{cards[0].mac}]",
        "tests/shadow/test_propose.py::test_cards_of_one_uuid_are_one_machine_and_no_card_is_lost",
    ),
    Sabotage(
        "a proposal never overwrites a file: open it for writing",
        "netboot/cli/shadow.py",
        'path.open("x", encoding="utf-8")',
        'path.open("w", encoding="utf-8")',
        "tests/cli/test_shadow.py::test_json_lines_and_a_proposal_in_a_new_file",
    ),
    Sabotage(
        "a probe takes no lease unasked: always send the REQUEST",
        "netboot/probe/course.py",
        "    if wishes.request:\n        ack",
        "    if True:\n        ack",
        "tests/probe/test_course.py::test_it_stops_after_the_offer_and_loads_the_program",
    ),
    Sabotage(
        "a helper that speaks nonsense leaves no descriptor behind",
        "netboot/proc/messages.py",
        "    except MalformedPacket:\n        close_all(fds)\n        raise",
        "    except MalformedPacket:\n        raise",
        "tests/proc/test_messages.py::test_too_many_descriptors_are_refused_and_closed",
    ),
    Sabotage(
        "hostile octets are a value or MalformedPacket: read behind the end of an option",
        "netboot/dhcp/wire.py",
        "        if start > size:\n",
        "        if False:\n",
        "tests/fuzz/test_corpus.py::test_every_kept_input_keeps_every_promise[wire]",
    ),
    Sabotage(
        "an address is never in two hands, whatever is sent: give a living holder's away",
        "netboot/dhcp/engine.py",
        "    return occupant.live(now) or now - occupant.last_seen < profile.network.lease\n",
        "    return False\n",
        "tests/fuzz/test_corpus.py::test_every_kept_input_keeps_every_promise[engine]",
    ),
    Sabotage(
        "a reservation is nobody else's, whatever is sent: count it among the dynamic addresses",
        "netboot/dhcp/pool.py",
        "            and IPv4Address(number) not in self.reserved\n",
        "",
        "tests/fuzz/test_corpus.py::test_every_kept_input_keeps_every_promise[engine]",
    ),
    Sabotage(
        "an operation is on disk before it is acknowledged: write it beside",
        "netboot/fleet/operations.py",
        "        await self._store.save_operation(operation, place",
        "        self._late = self._store.save_operation(operation, place",
        "tests/fleet/test_reassign.py::test_an_operation_is_on_disk_before_it_is_acknowledged",
    ),
    Sabotage(
        "an assignment outlives a restart: write the operation alone",
        "netboot/fleet/operations.py",
        "save_operation(operation, place=outcome.place",
        "save_operation(operation, place=None",
        "tests/fleet/test_reassign.py::test_an_assignment_is_in_force_after_a_restart",
    ),
    Sabotage(
        "a Node object is deleted only when it is this machine's (R17): take any UUID for its own",
        "netboot/fleet/ownership.py",
        "    if same_uuid(operation.uuid, node.system_uuid):",
        "    if node.system_uuid:",
        "tests/fleet/test_reassign.py::test_r17_a_node_object_of_another_machine_is_left",
    ),
    Sabotage(
        "a drain respects PodDisruptionBudgets: count what they hold as gone",
        "netboot/fleet/drain.py",
        "    left = len(asked) + len(found.ending)",
        "    left = len(asked) - len(held) + len(found.ending)",
        "tests/fleet/test_reassign.py::test_a_disruption_budget_holds_the_operation",
    ),
    Sabotage(
        "pods that nobody makes again go by force alone: evict them",
        "netboot/fleet/drain.py",
        "    if found.alone and not force:",
        "    if found.alone and force:",
        "tests/fleet/test_reassign.py::test_pods_that_nobody_makes_again_go_by_force_alone",
    ),
    Sabotage(
        "the same order is the same operation: begin another one",
        "netboot/fleet/operations.py",
        "        if newest is None or newest.order != order:",
        "        if newest is not None:",
        "tests/fleet/test_reassign.py::test_the_same_order_is_the_same_operation",
    ),
    Sabotage(
        "a name or an address that another machine has is not taken from it: look at no lease",
        "netboot/fleet/operations.py",
        "            orders.check_unused(machine, order, leases, now)\n",
        "",
        "tests/fleet/test_orders.py::test_what_another_machine_has_now_is_not_taken_from_it",
    ),
    Sabotage(
        "an operation is not done while a credential of it lives: look once, and away",
        "netboot/fleet/reassign.py",
        "    if not left or operation.order.force or",
        "    if left or operation.order.force or",
        "tests/fleet/test_reassign.py::test_half_of_all_calls_may_fail",
    ),
    Sabotage(
        "a dry run that is asked for in the wrong place changes nothing: overhear it",
        "netboot/web/api/assignments.py",
        "        _only(request, ())\n",
        "",
        "tests/web/api/test_assignments.py::test_a_wish_that_is_not_understood_begins_nothing",
    ),
    Sabotage(
        "a machine that is where it is sent is left alone: restart it",
        "netboot/fleet/reassign.py",
        'step="finish") if operation.settled else done',
        'step="finish") if operation.ended else done',
        "tests/fleet/test_reassign.py::test_a_machine_that_is_there_already_is_left_alone",
    ),
    Sabotage(
        "a boot that joins keeps its credential where nothing changes: take back whatever lives",
        "netboot/fleet/reassign.py",
        "spare_running=not operation.boot)",
        "spare_running=False)",
        "tests/fleet/test_reassign.py::test_a_boot_that_joins_meanwhile_keeps_its_credential_where_nothing_changes",
    ),
    Sabotage(
        "a refused target changes nothing: assign before it is asked",
        "netboot/model/operation.py",
        'STEPS = ("check", "assign", "cordon",',
        'STEPS = ("assign", "check", "cordon",',
        "tests/fleet/test_reassign.py::test_a_target_that_refuses_us_is_refused_before_anything_changed",
    ),
    Sabotage(
        "what a machine was given for its old cluster is taken back: leave it",
        "netboot/fleet/reassign.py",
        "        await world.revoke(boot.id)\n        left",
        "        left",
        "tests/fleet/test_reassign.py::test_a_machine_moves_to_another_cluster",
    ),
    Sabotage(
        "a reassignment survives a kill at each write and call: write its assignment at its end alone",
        "netboot/store/sqlite/operations.py",
        "    if place is not None:",
        "    if place is not None and ended:",
        "tests/fleet/test_interruption.py::"
        "test_a_reassignment_survives_a_kill_at_each_write_and_call[False-done]",
    ),
    Sabotage(
        "admission by approval withholds the credential: let everybody in",
        "netboot/boot/admission.py",
        "    if needs_approval(assignment) and not admitted:",
        "    if needs_approval(assignment) and admitted:",
        "tests/web/boot/test_claimed.py::test_a_machine_waits_for_an_operator_where_admission_is_by_approval",
    ),
    Sabotage(
        "a claimed boot keeps its cluster over a restart: look it up anew",
        "netboot/web/boot/claimed.py",
        "        if claim.kept is not None:",
        "        if claim.kept is None:",
        "tests/web/boot/test_claimed.py::test_a_claimed_boot_keeps_its_assignment_over_a_restart",
    ),
    Sabotage(
        "a running system keeps its name over an assignment: rename it at once",
        "netboot/dhcp/unmoved.py",
        "    if boot.started >= placed.since or",
        "    if boot.started <= placed.since or",
        "tests/dhcp/test_unmoved.py::test_a_declared_machine_keeps_its_name_and_address_while_it_runs",
    ),
)


def broken(text: str, line: Sabotage) -> str:
    """The file's text with the promise broken; raises ValueError where the line no longer fits."""
    count = text.count(line.old)
    if count != 1:
        raise ValueError(f"{line.file} holds the text to change {count} times, not once: {line.old!r}")
    return text.replace(line.old, line.new)


def copy_tree(target: Path) -> None:
    """A scratch copy of what the tests need."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, target / name)


def verdict(line: Sabotage, status: int, output: str) -> str | None:
    """What is wrong with this line, None where its test did its duty."""
    if status == TESTS_FAILED:
        return None
    last = "\n".join(output.strip().splitlines()[-12:])
    if status == 0:
        return _green(line)
    return f"pytest ended with {status}, which proves nothing: {line.test}\n{last}"


def _green(line: Sabotage) -> str:
    return f"the test stays green: {line.test}"


def attempt(line: Sabotage, copies: SimpleQueue[Path]) -> tuple[str | None, float]:
    """Break the promise in a copy that is free and run its test: what is wrong, and the seconds it took."""
    began = time.monotonic()
    copy = copies.get()
    try:
        problem = _tried(line, copy)
        if problem == _green(line):  # a race may be won by luck; not twice
            problem = _tried(line, copy)
    finally:
        copies.put(copy)
    return problem, time.monotonic() - began


def _tried(line: Sabotage, copy: Path) -> str | None:
    path = copy / line.file
    try:
        sound = path.read_text()
        path.write_text(broken(sound, line))
    except (OSError, ValueError) as error:
        return str(error)
    try:
        status, output = _pytest(copy, line.test)
    finally:
        path.write_text(sound)
    return verdict(line, status, output)


def _pytest(copy: Path, test: str) -> tuple[int, str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        test,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NETBOOT_REPORT", "PYTEST_"))}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the servers that it started
        output, _ = process.communicate()
        return 124, f"no end within {LIMIT:.0f} s\n{output}"
    return process.returncode, output


def main(words: Sequence[str]) -> int:
    """Run the lines that hold a word (all without words); 0 only if each test failed as it should."""
    chosen = [s for s in SABOTAGES if not words or any(w in s.promise or w in s.test for w in words)]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="netboot-sabotage-") as directory:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            copy_tree(Path(directory) / str(number))
            copies.put(Path(directory) / str(number))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            verdicts = pool.map(lambda line: attempt(line, copies), chosen)
            for line, (problem, seconds) in zip(chosen, verdicts, strict=True):
                wrong += problem is not None
                print(f"{seconds:6.1f} s  {'WRONG ' if problem else 'caught'}  {line.promise}", flush=True)
                if problem:
                    print(f"          {problem}", flush=True)
    print(f"{len(chosen) - wrong} broken promises caught, {wrong} not", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
