"""What a proxyDHCP server answers: what to boot, and never an address (PXE 2.1, sections 2.2 and 2.4).

Another DHCP server gives the addresses of such a network. On port 67 firmware's DISCOVER gets an OFFER
without address. On port 4011 the machine, which has its address by then, asks once more and gets an ACK.
A running system is never answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from netboot.boot.firmware import FirstStage, first_stage
from netboot.boot.quirks import Effect
from netboot.dhcp import route
from netboot.dhcp.engine import Reply, Silence
from netboot.dhcp.profile import Profile, own_boot_options, server_number
from netboot.dhcp.wire import FLAG_BROADCAST, Kind, Packet, encode_option, encode_reply
from netboot.model.machine import Arch, Client, Speaker

BOOT_SERVER_PORT = 4011
"""Where machines that have their address ask a boot server (PXE 2.1, section 2.2.5)."""

BOOT_ITEM = 71
"""Sub-option of 43: the item of a boot menu that the machine wants, two octets of type and two of layer."""

_PXE = b"PXEClient"
_PAD, _END = 0, 255


def respond(
    request: Packet, client: Client, profile: Profile, sender: route.Unicast | None
) -> Reply | Silence:
    """What this request is answered; `sender` is who asked on port 4011, None for port 67."""
    kind = request.kind
    if client.speaker is Speaker.SYSTEM:
        return Silence("a running system is its own DHCP server's affair")
    if kind is Kind.DISCOVER:
        return _reply(Kind.OFFER, request, client, profile, sender)
    if sender is not None and kind in (Kind.REQUEST, Kind.INFORM):
        return _reply(Kind.ACK, request, client, profile, sender)
    return Silence("said to the network's own DHCP server")


def address_asked_for(request: Packet) -> IPv4Address | None:
    """The address that a broadcast REQUEST takes from its DHCP server: option 50, else ciaddr."""
    if request.kind is not Kind.REQUEST:
        return None
    number = request.u32(50) or request.ciaddr
    return IPv4Address(number) if number else None


def _reply(
    kind: Kind, request: Packet, client: Client, profile: Profile, sender: route.Unicast | None
) -> Reply | Silence:
    group = profile.group
    stage = first_stage(
        client,
        address=group.server,
        boot_port=group.boot_port,
        override=group.boot,
        provided=group.provided,
    )
    if not isinstance(stage, FirstStage):
        return Silence(f"{profile.assignment.name}: {stage.reason}", "dhcp_no_program")
    own = {c: v for c, v in own_boot_options(group, client).items() if c not in stage.quirks.own.options}
    item = boot_item(request)
    if item is not None and item[:2] != b"\0\0" and 43 not in own:
        return Silence("it asks for an item of another boot server's menu")
    options = {**_boot_options(stage, client), **own}
    sname, file = own.get(66, b"").rstrip(b"\0"), own.get(67, b"").rstrip(b"\0")
    asks_again = _is_uefi(client) and sender is None  # port 4011 of siaddr, which has to be ours
    if item is not None:
        options[43] = bytes((BOOT_ITEM, len(item))) + item + bytes((_END,))
    payload = encode_reply(
        request,
        flags=request.flags if sender is not None else request.flags | FLAG_BROADCAST,
        ciaddr=request.ciaddr if kind is Kind.ACK else 0,
        yiaddr=0,
        siaddr=int(stage.siaddr) if asks_again else server_number(sname) or int(stage.siaddr),
        sname=sname if 0 < len(sname) < 64 else stage.sname,
        file=file if 0 < len(file) < 128 else b"" if file else stage.file,
        options=_options(kind, request, profile, options, stage.quirks.effect),
    )
    where = _destination(request, client, sender)
    return Reply(kind, payload, where, None, None, stage.words, stage.quirks.texts)


def _destination(request: Packet, client: Client, sender: route.Unicast | None) -> route.Destination:
    """Back to whom asked on port 4011, at the port that it asked from; else as every OFFER goes."""
    if sender is not None and sender.host != "0.0.0.0":
        return sender
    return route.destination(request, Kind.OFFER, client.mac, None)


def _boot_options(stage: FirstStage, client: Client) -> dict[int, bytes]:
    """The first stage's options as they work in two offers that the machine puts together.

    iPXE must not be told to wait for no proxy: we are it. UEFI PXE has to see `PXEClient` and no 43: then
    it asks port 4011, which works with every EDK2, while some of them drop a proxy's offer that has 43.
    """
    options = dict(stage.options)
    options.pop(175, None)
    named = stage.quirks.own.options
    if _is_uefi(client) and 60 not in named:
        options[60] = _PXE
    return options


def _is_uefi(client: Client) -> bool:
    return client.speaker is Speaker.PXE and client.arch not in (None, Arch.BIOS)


def _options(
    kind: Kind, request: Packet, profile: Profile, boot: Mapping[int, bytes], effect: Effect
) -> bytes:
    """Message type, server, what to boot, and what goes back as it came, the relay agent's at last."""
    parts = [encode_option(53, bytes((kind,))), encode_option(54, profile.server.packed)]
    parts += [encode_option(code, value) for code, value in boot.items()]
    if len(request.options.get(97, b"")) == 17 and not effect.left_out(97):
        parts.append(encode_option(97, request.options[97]))
    if request.giaddr and 82 in request.options:
        parts.append(encode_option(82, request.options[82]))
    return b"".join(parts)


def boot_item(request: Packet) -> bytes | None:
    """The boot menu's item that a request asks for (43.71), None where it asks for none."""
    found = dict(_sub_options(request.options.get(43, b""))).get(BOOT_ITEM)
    return found if found is not None and len(found) == 4 else None


def _sub_options(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The sub-options of option 43, as far as they are whole."""
    at = 0
    while at < len(raw) and raw[at] != _END:
        if raw[at] == _PAD:
            at += 1
            continue
        end = at + 2 + raw[at + 1] if at + 1 < len(raw) else len(raw) + 1
        if end > len(raw):
            return
        yield raw[at], raw[at + 2 : end]
        at = end
