"""The node's configuration: every format's quoting, proved by the programs that read it."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.boot.hosts import Host
from netboot.boot.node_config import absolute, configuration, fstab_line, kubelet_arguments, shell_quoted
from netboot.errors import ConfigError
from netboot.model.inventory import Assignment
from netboot.model.settings import File, Mount, Settings, Unit
from tests.boot.conftest import BASE, EVERYTHING, inventory

NONE = {"join/method": (b"none\n", 0o644)}


def assignment(method: str = "none", **settings: object) -> Assignment:
    found = inventory(method=method, **settings)  # type: ignore[arg-type]
    return found.assign(found.nodes[0])


def unpacked(raw: bytes) -> dict[str, tuple[str, int]]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {
            m.name.removeprefix("netboot/"): ((tar.extractfile(m) or io.BytesIO()).read().decode(), m.mode)
            for m in tar.getmembers()
        }


def test_every_kind_of_setting_has_its_member() -> None:
    """All settings at once: names, contents and modes as the agent expects them."""
    found = unpacked(configuration(assignment(**EVERYTHING), server=BASE, join=NONE))
    assert found["hostname"] == ("m1c29\n", 0o644)
    assert found["timezone"] == ("Europe/Prague\n", 0o644)
    assert found["root_password_hash"] == ("$6$canary$hash\n", 0o600)
    assert found["authorized_keys"] == ("ssh-ed25519 AAAA one\nssh-ed25519 BBBB two\n", 0o600)
    assert found["hosts"][0] == "10.77.0.9 registry.example.org registry\n"
    assert found["sysctl.conf"][0] == "net.ipv4.ip_forward = 1\nkernel.printk = 3 4 1 3\n"
    assert found["modules"][0] == "overlay\nbr_netfilter\n"
    assert found["fstab"][0] == (
        "tmpfs /var/lib/kubelet tmpfs defaults 0 0\n/dev/a\\040b /mnt/a\\040b\\043c ext4 ro 0 0\n"
    )
    assert found["network.sh"][0] == "echo 'it runs'\n"
    assert found["units"][0] == "hello.service\n"
    assert found["kernel_parameters"][0] == "console=ttyS0,115200n8\n"
    assert found["root/etc/motd"] == ("hello\n", 0o644)
    assert found["root/root/.docker/config.json"] == ("{}", 0o600)
    assert found["root/etc/systemd/system/hello.service"] == ("[Service]\n", 0o644)
    assert found["root/etc/systemd/system/quiet.timer"] == ("[Timer]\n", 0o644)
    assert found["join/method"] == ("none\n", 0o644)
    assert found["kubelet.env"][0] == (
        "KUBELET_EXTRA_ARGS='--node-labels=a=1,b=2 --register-with-taints=foo=bar:NoSchedule,only:NoExecute "
        "--cgroup-driver=systemd --eviction-hard=memory.available<100Mi'\n"
    )


def test_kubelet_arguments_are_left_to_kubeadm_where_it_joins() -> None:
    """kubeadm.yaml carries them: written twice they would disagree one day."""
    join = {"join/method": (b"kubeadm\n", 0o644), "join/kubeadm.yaml": (b"{}", 0o600)}
    found = unpacked(configuration(assignment("kubeadm", **EVERYTHING), server=BASE, join=join))
    assert "kubelet.env" not in found and found["join/kubeadm.yaml"] == ("{}", 0o600)


def test_a_plain_node_has_a_name_and_a_join() -> None:
    """Without settings hardly anything is there."""
    plain = replace(assignment(), settings=Settings())
    found = unpacked(configuration(plain, server=BASE, join=NONE))
    assert set(found) == {"hostname", "network.env", "join/method"}


def test_the_same_settings_give_the_same_bytes() -> None:
    """No clock and no account shows in the tar."""
    first = configuration(assignment(**EVERYTHING), server=BASE, join=NONE)
    assert first == configuration(assignment(**EVERYTHING), server=BASE, join=NONE)
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert {(m.uid, m.gid, m.mtime, m.isreg()) for m in tar.getmembers()} == {(0, 0, 0, True)}


def test_sh_reads_the_environment_of_network_sh() -> None:
    """`.` gives the variables that network.sh may rely on."""
    raw, _ = unpacked(configuration(assignment(), server=f"{BASE}:8080", join=NONE))["network.env"]
    names = ("HOSTNAME", "SERVER", "IPCONFIG_IPV4DNS0", "SEARCH_DOMAIN", "NETBOOT_CLUSTER")
    script = raw + "printf '%s|' " + " ".join(f'"${name}"' for name in names)
    shown = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True, timeout=10)
    assert shown.stdout == "m1c29|10.77.0.1|10.77.0.1|lab.example.org|blue|"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_shell_quoting_keeps_every_character(text: str) -> None:
    """Whatever the value, sh reads it back as one word."""
    assert shlex.split(shell_quoted(text)) == [text]


def test_a_kubelet_argument_with_blanks_is_quoted_for_systemd() -> None:
    """systemd splits at blanks, but not within double quotes."""
    assert kubelet_arguments(Settings(kubelet_args={"x": "a b"})) == '"--x=a b"'


@pytest.mark.parametrize("path", ["etc/motd", "/etc/../../x", "/..", "", "/", "/a\nb", "//"])
def test_a_path_cannot_lead_out_of_root(path: str) -> None:
    """Relative paths, dots and control characters are refused."""
    with pytest.raises(ConfigError):
        absolute(path, "files")
    with pytest.raises(ConfigError):
        configuration(assignment(files={path: File("x")}), server=BASE, join=NONE)


def test_paths_are_made_plain() -> None:
    """Doubled slashes and single dots fall away."""
    assert absolute("//etc/./motd", "files") == "/etc/motd"


@pytest.mark.parametrize(
    "settings",
    [
        {"timezone": "../../etc/passwd"},
        {"timezone": "a\nb"},
        {"root_password_hash": "$6$a\nroot"},
        {"ssh_authorized_keys": ("a\nb",)},
        {"modules": ("a b",)},
        {"modules": ("../x",)},
        {"sysctls": {"a b": "1"}},
        {"sysctls": {"net.x": "1\nkernel.y = 2"}},
        {"mounts": (Mount("a\nb", "/x", "tmpfs"),)},
        {"mounts": (Mount("", "/x", "tmpfs"),)},
        {"mounts": (Mount("tmpfs", "relative", "tmpfs"),)},
        {"hosts": {"10.0.0.1 evil": ("x",)}},
        {"hosts": {"10.0.0.1": ("a b",)}},
        {"units": {"../../evil.service": Unit("")}},
        {"units": {"noextension": Unit("")}},
        {"kubelet_args": {"Bad Name": "x"}},
        {"kubelet_args": {"x": "it's"}},
        {"kubelet_args": {"x": "a\nb"}},
        {"files": {"/" + "a" * 300: File("x")}},
        {"files": {"/x": File("\ud800")}},
    ],
)
def test_what_a_format_cannot_carry_is_refused(settings: dict[str, object]) -> None:
    """No value can add a line, a word or a file of its own."""
    with pytest.raises(ConfigError):
        configuration(assignment(**settings), server=BASE, join=NONE)


def test_a_refusal_never_shows_a_secret() -> None:
    """The text of a refused hash, key or file is not in the message."""
    for settings in ({"root_password_hash": "$6$canary\n"}, {"files": {"/x": File("canary\ud800")}}):
        with pytest.raises(ConfigError) as caught:
            configuration(assignment(**settings), server=BASE, join=NONE)
        assert "canary" not in str(caught.value)


def test_mount_options_default() -> None:
    """A mount without options says `defaults`."""
    assert fstab_line(Mount("tmpfs", "/x/", "tmpfs", "")) == "tmpfs /x tmpfs defaults 0 0"


def test_join_material_must_name_its_method() -> None:
    """The agent cannot go on without join/method."""
    with pytest.raises(ConfigError):
        configuration(assignment(), server=BASE, join={})


def test_neighbours_stand_in_hosts_after_what_the_operator_wrote() -> None:
    """The first line that has a name wins: the operator's."""
    near = [Host(IPv4Address("10.0.0.20"), ("m2.example.org", "m2"))]
    found = unpacked(configuration(assignment(**EVERYTHING), server=BASE, join=NONE, neighbours=near))
    assert found["hosts"] == (
        "10.77.0.9 registry.example.org registry\n10.0.0.20 m2.example.org m2\n", 0o644
    )  # fmt: skip
    assert "hosts" not in unpacked(configuration(assignment(), server=BASE, join=NONE))
