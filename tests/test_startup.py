"""What is done while we are root, as far as that needs no root; the rest: tests/interop/test_serve.py."""

from __future__ import annotations

import os
import socket
import stat
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netboot import startup
from netboot.errors import StartError
from netboot.model.inventory import Inventory, Network


def inventory(**network: object) -> Inventory:
    """An inventory with one network on lo."""
    facts: dict[str, object] = {"subnet": IPv4Network("127.0.0.0/8"), "interface": "lo", "address": None}
    return Inventory(
        networks={"lab": Network(name="lab", **{**facts, **network})}, clusters={}, pools={}, nodes=()
    )  # type: ignore[arg-type]


def test_a_network_without_address_gets_its_interfaces_own() -> None:
    """URLs and the server identifier come from the address that the interface has in the subnet."""
    assert startup.with_addresses(inventory(), None).networks["lab"].address == IPv4Address("127.0.0.1")


def test_an_address_of_the_file_wins() -> None:
    """A network's own address is kept; without one server.address serves every network."""
    own = IPv4Address("127.0.0.9")
    assert (
        startup.with_addresses(inventory(address=own), IPv4Address("127.0.0.2")).networks["lab"].address
        == own
    )
    found = startup.with_addresses(inventory(), IPv4Address("127.0.0.2")).networks["lab"].address
    assert found == IPv4Address("127.0.0.2")


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"subnet": IPv4Network("10.99.0.0/24")}, r"lo has no address in 10\.99\.0\.0/24"),
        ({"interface": None}, "lab is relayed and says no address"),
        ({"interface": "eno9"}, "no interface eno9"),
    ],
)
def test_a_network_that_no_node_could_reach_is_refused(network: dict[str, object], told: str) -> None:
    """No address for its nodes: the start is refused with what to add."""
    with pytest.raises(StartError, match=told):
        startup.with_addresses(inventory(**network), None)


def test_the_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    """A second start reads what the first one made, mode 0600; another start has another secret."""
    first = startup.appliance_secret(tmp_path / "secret", None)
    assert startup.appliance_secret(tmp_path / "secret", None) == first
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert startup.appliance_secret(tmp_path / "other", None) != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "secret"]


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    """A short secret would make guessable keys: it is never used."""
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(StartError, match="has 5 bytes instead of 32"):
        startup.appliance_secret(tmp_path / "secret", None)


def test_the_data_folder_becomes_private(tmp_path: Path) -> None:
    """A folder that others could read is closed, a missing one is made with its parents."""
    tmp_path.chmod(0o755)
    startup.private_folder(tmp_path, None)
    startup.private_folder(tmp_path / "deep" / "data", None)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The reason and the remedy, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be made ours"):
        startup.private_folder(tmp_path / "file" / "data", None)


def test_a_taken_port_is_said_with_the_key_to_change() -> None:
    """The message names the address, the command that shows the holder, and the key."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(StartError) as refused:
            startup.listener("127.0.0.1", port, "server.boot_port")
    assert f"TCP 127.0.0.1:{port} is taken" in str(refused.value)
    assert f"ss -tlnp sport = :{port}" in str(refused.value) and "server.boot_port" in str(refused.value)


def test_an_address_that_is_not_ours_is_said() -> None:
    """Binding a foreign address fails with the system's reason."""
    with pytest.raises(StartError, match=r"TCP 192\.0\.2\.1:0 cannot be bound"):
        startup.listener("192.0.2.1", 0, "server.api.listen")


def test_a_listener_is_open_and_not_inherited() -> None:
    """It listens, does not block, and no child process gets it."""
    with startup.listener("127.0.0.1", 0, "server.boot_port") as made:
        assert not made.get_inheritable() and not os.get_blocking(made.fileno())
        socket.create_connection(made.getsockname(), timeout=5).close()
