"""The TFTP process over loopback, asked by hand-made packets."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

import pytest

from netboot.proc.supervisor import TftpLimits
from tests.proc.house import House, house, make_image, make_served, until


class Client:
    """A client that sends what it is told to and remembers what came."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.server = server
        self.peer = server

    def ask(self, name: bytes | str, *options: str, mode: str = "octet", opcode: int = 1) -> None:
        name = name.encode() if isinstance(name, str) else name
        rest = b"".join(text.encode() + b"\0" for text in (mode, *options))
        self.sock.sendto(struct.pack("!H", opcode) + name + b"\0" + rest, self.server)

    def ack(self, number: int) -> None:
        self.sock.sendto(struct.pack("!HH", 4, number & 0xFFFF), self.peer)

    async def hear(self, seconds: float = 5.0) -> bytes:
        loop = asyncio.get_running_loop()
        datagram, self.peer = await asyncio.wait_for(loop.sock_recvfrom(self.sock, 70000), seconds)
        return datagram

    async def block(self, number: int) -> bytes:
        """The content of a block; what was sent again before it is passed over."""
        async with asyncio.timeout(5):
            while (packet := await self.hear())[:4] != struct.pack("!HH", 3, number):
                assert packet[:2] == b"\0\3", packet
        return packet[4:]

    async def silent(self, seconds: float = 0.3) -> bool:
        try:
            await self.hear(seconds)
        except TimeoutError:
            return True
        return False

    async def fetch(self, name: str, *options: str, blksize: int = 512) -> bytes:
        """A whole file, acknowledged once per window."""
        self.ask(name, *options)
        got, expected, window, packet = b"", 1, 1, await self.hear()
        if packet[:2] == b"\0\6":
            agreed = packet[2:].split(b"\0")
            window = int(agreed[agreed.index(b"windowsize") + 1]) if b"windowsize" in agreed else 1
            self.ack(0)
            packet = await self.hear()
        while True:
            opcode, number = struct.unpack("!HH", packet[:4])
            assert opcode == 3, packet
            if number == expected & 0xFFFF:
                got += packet[4:]
                if len(packet) - 4 < blksize:
                    self.ack(expected)
                    return got
                if expected % window == 0:
                    self.ack(expected)
                expected += 1
            packet = await self.hear()


@pytest.fixture(params=[False, True], ids=["own-ports", "single-port"])
async def made(request: pytest.FixtureRequest, tmp_path: Path):
    served = make_served(tmp_path)
    (tmp_path / "files" / "small").write_bytes(b"hello")
    (tmp_path / "files" / "exact").write_bytes(os.urandom(2048))
    (tmp_path / "files" / "sub").mkdir()
    (tmp_path / "files" / "sub" / "deep.cfg").write_bytes(b"deep")
    (tmp_path / "programs" / "snponly.efi").write_bytes(b"program")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "files" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "files" / "out").symlink_to(tmp_path)
    limits = TftpLimits(single_port=request.param)
    async with house(served, tftp=True, workers=0, limits=limits) as running:
        yield running


@pytest.fixture
def client(made: House):
    one = Client(made.tftp)
    yield one
    one.sock.close()


async def test_a_small_file_comes_in_one_block(made: House, client: Client) -> None:
    """Without options a block has 512 bytes and no OACK is sent."""
    assert await client.fetch("small") == b"hello"
    await until(lambda: made.transfers)
    last = made.transfers[-1]
    assert (last.name, last.client, last.sent, last.of, last.done, last.error) == (
        "small", "127.0.0.1", 5, 5, True, None,
    )  # fmt: skip


async def test_a_file_of_whole_blocks_ends_with_an_empty_one(
    made: House, client: Client, tmp_path: Path
) -> None:
    """2048 bytes are four full blocks and an empty fifth."""
    assert await client.fetch("exact") == (tmp_path / "files" / "exact").read_bytes()


async def test_the_answer_comes_from_a_port_of_its_own_and_the_address_that_was_asked(
    made: House, client: Client
) -> None:
    """Every transfer has its own identifier (RFC 1350 section 4), unless one port is wanted for all."""
    client.ask("small")
    await client.hear()
    assert client.peer[0] == made.tftp[0]
    single = made.supervisor._limits.single_port
    assert (client.peer[1] == made.tftp[1]) is single
    client.ack(1)


async def test_options_are_acknowledged_and_unknown_ones_left_out(made: House, client: Client) -> None:
    """tsize tells the size, odd values and unknown options are not in the OACK."""
    client.ask("small", "TSIZE", "0", "blksize", "1024", "timeout", "300", "windowsize", "4", "colour", "red")
    assert await client.hear() == b"\0\6tsize\x005\0blksize\x001024\0windowsize\x004\0"
    client.ack(0)
    assert await client.hear() == b"\0\3\0\1hello"
    client.ack(1)


async def test_a_question_for_the_size_is_no_failed_transfer(made: House, client: Client) -> None:
    """EDK2 asks tsize and aborts with error 8: nothing is reported, and the real request works."""
    client.ask("small", "tsize", "0")
    await client.hear()
    client.sock.sendto(b"\0\5\0\x08User aborted the transfer\0", client.peer)
    assert await Client.fetch(client, "small") == b"hello"
    await until(lambda: made.transfers)
    assert [t.error for t in made.transfers if t.done] == [None]


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_a_size_probe_may_end_in_any_way(made: House, client: Client, acknowledged: bool) -> None:
    """By an ERROR after ACK 0 (Raspberry Pi), or by a port that is closed: nothing is reported either way."""
    if acknowledged:
        client.ask("exact", "tsize", "0")
        await client.hear()
        client.ack(0)
        await client.hear()
        client.sock.sendto(b"\0\5\0\0Early terminate\0", client.peer)
    elif not made.supervisor._limits.single_port:  # nobody hears of closed ports on a shared one
        prober = Client(made.tftp)
        prober.ask("exact", "tsize", "0")
        await prober.hear()
        prober.sock.close()
        await asyncio.sleep(0.5)
    assert await client.fetch("small") == b"hello"
    await until(lambda: any(t.done for t in made.transfers))
    assert [(t.name, t.error) for t in made.transfers if t.done] == [("small", None)]


async def test_every_window_leaves_whole_and_in_order(made: House, client: Client, tmp_path: Path) -> None:
    """A file of many windows arrives byte for byte with windowsize 16."""
    content = os.urandom(1_000_003)
    (tmp_path / "files" / "many").write_bytes(content)
    options = ("blksize", "1468", "windowsize", "16")
    assert await client.fetch("many", *options, blksize=1468) == content


async def test_block_numbers_wrap_around(made: House, client: Client, tmp_path: Path) -> None:
    """A file of more than 65535 blocks goes on at block 0."""
    content = os.urandom(16 * 70_000 + 3)
    (tmp_path / "files" / "long").write_bytes(content)
    options = ("blksize", "16", "windowsize", "64")
    assert await client.fetch("long", *options, blksize=16) == content


async def test_a_lost_block_is_sent_again(made: House, client: Client, tmp_path: Path) -> None:
    """Nothing comes back: the same block again, until it is acknowledged."""
    client.ask("exact")
    first = await client.hear()
    assert await client.hear() == first
    client.ack(1)
    assert (await client.hear())[:4] == b"\0\3\0\2"


async def test_a_repeated_ack_causes_no_repeated_block(made: House, client: Client) -> None:
    """No sorcerer's apprentice: three ACKs of block 1 bring block 2 once."""
    client.ask("exact")
    await client.hear()
    for _ in range(3):
        client.ack(1)
    assert (await client.hear())[:4] == b"\0\3\0\2"
    assert await client.silent(0.03)


async def test_a_repeated_request_begins_no_second_transfer(made: House, client: Client) -> None:
    """The request came again before its answer: the same transfer answers."""
    client.ask("exact")
    await client.hear()
    first = client.peer
    client.ask("exact")
    await client.hear()
    assert client.peer == first


@pytest.mark.parametrize(
    "name", ["../secret", "sub/../../secret", "..\\secret", "/../secret", "a/..", "..", "out/../x"]
)
async def test_a_way_out_of_the_tree_is_refused_and_reported(made: House, client: Client, name: str) -> None:
    """`..` in any form: error 2, one report with name and source."""
    client.ask(name)
    assert (await client.hear())[:4] == b"\0\5\0\2"
    await until(lambda: made.refused)
    assert made.refused[-1][0] == "tftp_refused"
    assert made.refused[-1][2] == "127.0.0.1"


@pytest.mark.parametrize("name", ["link", "out/secret"])
async def test_links_are_not_followed(made: House, client: Client, name: str) -> None:
    """A link in files_dir, last or on the way, leads nowhere."""
    client.ask(name)
    assert (await client.hear())[:4] == b"\0\5\0\2"


async def test_passwd_is_refused_under_every_spelling(made: House, client: Client) -> None:
    """Whatever the spelling, what comes is an error."""
    for name in (
        "../etc/passwd",
        "/etc/passwd",
        "....//etc/passwd",
        "%2e%2e/etc/passwd",
        "..%c0%af/etc/passwd",
    ):
        client.ask(name)
        assert (await client.hear())[:2] == b"\0\5"


async def test_write_requests_are_refused(made: House, client: Client) -> None:
    """WRQ: error 2, reported, nothing is written."""
    client.ask("new", opcode=2)
    answer = await client.hear()
    assert answer[:4] == b"\0\5\0\2"
    assert b"write requests are refused" in answer
    await until(lambda: made.refused)
    assert await client.fetch("small") == b"hello"


async def test_netascii_is_refused_with_a_clear_text(made: House, client: Client) -> None:
    """A client in text mode learns what to change."""
    client.ask("small", mode="netascii")
    assert b"octet" in await client.hear()


async def test_a_name_of_ten_kilobytes_is_refused(made: House, client: Client) -> None:
    """Error, one report, and the next client is served."""
    client.ask(b"a" * 10_000)
    assert (await client.hear())[:4] == b"\0\5\0\4"
    await until(lambda: made.refused)
    assert made.refused[-1][0] == "tftp_malformed"
    assert await client.fetch("small") == b"hello"


async def test_windows_and_dos_spellings_find_their_file(made: House, client: Client) -> None:
    """Backslashes, leading and doubled slashes, upper case."""
    for name in ("sub\\deep.cfg", "//sub//deep.cfg", "\\SUB\\DEEP.CFG", "./sub/deep.cfg"):
        assert await client.fetch(name) == b"deep"
    assert await client.fetch("/SnpOnly.EFI") == b"program"


async def test_a_file_of_files_dir_wins_over_a_program(made: House, client: Client, tmp_path: Path) -> None:
    """The operator's own build of a boot program takes the place of ours."""
    assert await client.fetch("snponly.efi") == b"program"
    (tmp_path / "files" / "snponly.efi").write_bytes(b"own build")
    assert await client.fetch("snponly.efi") == b"own build"


async def test_files_of_an_image_are_served_by_generation_only(
    made: House, client: Client, tmp_path: Path
) -> None:
    """images/NAME/GENERATION/FILE works, `latest` and other files do not."""
    generation = make_image(tmp_path / "images", {"vmlinuz": b"kernel", "private": b"no"})
    assert await client.fetch(f"/images/demo/{generation}/vmlinuz") == b"kernel"
    for name in (f"images/demo/{generation}/private", "images/demo/latest/vmlinuz"):
        client.ask(name)
        assert (await client.hear())[:4] == b"\0\5\0\1"


async def test_a_per_machine_name_is_asked_of_control(made: House, client: Client) -> None:
    """Control's answer wins over a file; where it has none the file is served."""
    made.virtual["autoexec.ipxe"] = b"#!ipxe\n" + b"x" * 3000
    assert await client.fetch("/autoexec.ipxe") == made.virtual["autoexec.ipxe"]
    assert made.asked == [("autoexec.ipxe", "127.0.0.1")]
    client.ask("pxelinux.cfg/01-52-54-00-77-00-00")
    assert (await client.hear())[:4] == b"\0\5\0\1"


async def test_a_missing_file_is_told_to_control(made: House, client: Client) -> None:
    """File not found is an answer, and a fact for the machine's timeline."""
    client.ask("nothing")
    assert (await client.hear())[:4] == b"\0\5\0\1"
    await until(lambda: made.transfers)
    assert made.transfers[-1].error == "file not found"


async def test_transfers_of_one_client_are_limited(tmp_path: Path) -> None:
    """The third transfer of one address is not begun while two run."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(bytes(2000))
    async with house(served, tftp=True, workers=0, limits=TftpLimits(10, 2)) as made:
        clients = [Client(made.tftp) for _ in range(3)]
        for one in clients[:2]:
            one.ask("a")
            await one.hear()
        clients[2].ask("a")
        assert await clients[2].silent()
        assert made.refused[0][0] == "tftp_busy"
        clients[0].sock.sendto(b"\0\5\0\0stop\0", clients[0].peer)
        await until(lambda: any(t.done for t in made.transfers))
        clients[2].ask("a")
        await clients[2].hear()
        for one in clients:
            one.sock.close()


async def test_garbage_harms_nobody(made: House, client: Client) -> None:
    """Odd datagrams to port 69 and to a transfer's port: the process goes on."""
    client.ask("exact")
    await client.hear()
    for garbage in (
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0\0",
        b"\xff" * 1500,
        b"\0\4",
        b"\0\3\0\1x",
        b"\0\6a\0b\0",
        os.urandom(900),
    ):
        client.sock.sendto(garbage, client.server)
        client.sock.sendto(garbage, client.peer)
    other = Client(made.tftp)
    assert await other.fetch("small") == b"hello"
    other.sock.close()
    assert made.supervisor.processes()[0].restarts == 0


async def test_an_unprintable_name_is_refused_like_any_other(made: House, client: Client) -> None:
    """Its escaped form is long: the report is cut, and the process that made it stays."""
    for name in ("../" + "\U000e0001" * 250, "../" + "\x80" * 250, b"../" + b"\xff" * 600):
        client.ask(name)
        assert (await client.hear())[:4] == b"\0\5\0\2"
    await until(lambda: len(made.refused) == 3)
    assert made.supervisor.processes()[0].restarts == 0


async def test_a_flood_of_bad_requests_reaches_control_as_few_words(made: House, client: Client) -> None:
    """A thousand refused requests and a thousand for missing files: a bounded number of messages."""
    for _ in range(1000):
        client.ask("../x")
        client.ask("missing")
    await until(lambda: any(kind == "too_many_refused" for kind, _, _ in made.refused))
    other = Client(made.tftp)
    assert await other.fetch("small") == b"hello"
    other.sock.close()
    assert len(made.refused) + len(made.transfers) < 1500


# --- one port for all ------------------------------------------------------------------------------------


@pytest.fixture
async def single(tmp_path: Path):
    served = make_served(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "files" / name).write_bytes(name.encode() * 1000)
    async with house(served, tftp=True, workers=0, limits=TftpLimits(single_port=True)) as running:
        yield running


async def test_transfers_of_one_address_are_told_apart_by_their_ports(single: House) -> None:
    """Two clients behind one address (a NAT) download different files at the same time."""
    clients = {name: Client(single.tftp) for name in ("one", "two")}
    for name, client in clients.items():
        client.ask(name)
    got = dict.fromkeys(clients, b"")
    for number in range(1, 7):
        for name, client in clients.items():
            got[name] += await client.block(number)
        for client in clients.values():
            client.ack(number)
    assert got == {name: name.encode() * 1000 for name in clients}
    for client in clients.values():
        client.sock.close()


async def test_a_window_on_a_shared_port_is_small(single: House) -> None:
    """Its number is no secret, so a forged ACK must not bring 64 blocks to its victim."""
    client = Client(single.tftp)
    client.ask("one", "blksize", "64", "windowsize", "64")
    assert b"windowsize\x008\0" in await client.hear()
    client.ack(0)
    assert [(await client.hear())[3] for _ in range(8)] == list(range(1, 9))
    client.sock.close()


async def test_a_stray_ack_on_a_shared_port_is_nobodys(single: House) -> None:
    """It belongs to no transfer: no answer, nothing else happens."""
    client = Client(single.tftp)
    client.ack(1)
    assert await client.silent()
    assert await client.fetch("one") == b"one" * 1000
    client.sock.close()


# --- forged addresses, slow clients --------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("blksize", "1468", "windowsize", "64", "tsize", "0")])
async def test_who_never_answers_is_sent_three_small_packets(
    made: House, client: Client, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The address of a request may be forged: before its first ACK nothing but the first packet, thrice."""
    (tmp_path / "files" / "large").write_bytes(bytes(200_000))
    client.ask("large", *options)
    packets = []
    while True:
        try:
            packets.append(await client.hear(2.0))
        except TimeoutError:
            break
    assert len(packets) == 3
    assert len(set(packets)) == 1 and len(packets[0]) <= 516
    if options:
        assert packets[0][:2] == b"\0\6"
