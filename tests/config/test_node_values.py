from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.config import node_values
from netboot.config.problems import Bad, Many
from netboot.model.settings import Taint
from tests.config.anything import ANYTHING, gives_a_value_or_bad

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHuBcUkWlAlJ/IAY4S98bNQKjoC40C6T/StQuLbsglqR"


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "rack-1",
        "example.org/rack",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "kubelet.kubernetes.io/x",
        "node.kubernetes.io/x",
        "kubernetes.io/os",
        "notkubernetes.io/x",
        "a.node.kubernetes.io/x",
        "node-role.kubernetes.io/worker",
    ],
)
def test_labels(key: str) -> None:
    """As Kubernetes writes them; which of them a kubelet may set is looked at with the clusters."""
    assert node_values.label_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a/b/c",
        "/a",
        "a/",
        "-a",
        "a" * 64,
        "Example.org/a",
        "a b",
    ],
)
def test_what_is_no_label(key: str) -> None:
    """The API server would refuse it."""
    with pytest.raises(Bad):
        node_values.label_key(key)


@pytest.mark.parametrize(
    ("text", "taint"),
    [
        ("foo=bar:NoSchedule", Taint("foo", "bar", "NoSchedule")),
        ("foo:NoExecute", Taint("foo", "", "NoExecute")),
        ("foo=:PreferNoSchedule", Taint("foo", "", "PreferNoSchedule")),
        (
            "node-role.kubernetes.io/control-plane:NoSchedule",
            Taint("node-role.kubernetes.io/control-plane", "", "NoSchedule"),
        ),
    ],
)
def test_taints(text: str, taint: Taint) -> None:
    """As kubectl writes them; a kubelet may register itself with any key."""
    assert node_values.taint(text) == taint


@pytest.mark.parametrize("text", ["0644", "0o644", "0755", "04755", "0000"])
def test_modes_are_octal(text: str) -> None:
    """With their leading zero, as chmod writes them."""
    assert node_values.mode(text) == int(text.replace("o", ""), 8)


@pytest.mark.parametrize("value", [420, 644, "644", "0888", "rw-r--r--", "0", "", True, None])
def test_what_is_no_mode(value: object) -> None:
    """644 without its zero is decimal to some and octal to others."""
    with pytest.raises(Bad):
        node_values.mode(value)


def test_ssh_keys_with_options_and_comments() -> None:
    """A line of authorized_keys as OpenSSH takes it."""
    for line in (KEY, f"{KEY} me@here", f'from="10.0.0.0/8",no-pty {KEY} a comment'):
        assert node_values.ssh_key(line) == line


@pytest.mark.parametrize(
    "line", ["", "hunter2", KEY[:40], KEY.replace("ed25519", "rsa", 1), "ssh-ed25519 !!!!", f"{KEY}\n{KEY}"]
)
def test_what_is_no_ssh_key(line: str) -> None:
    """Cut short, of another type than it says, two at once."""
    with pytest.raises(Bad) as bad:
        node_values.ssh_key(line)
    assert "hunter2" not in str(bad.value)


@pytest.mark.parametrize("text", ["$6$salt1234$" + "x" * 86, "$y$j9T$salt$hashhashhash", "*", "!"])
def test_password_hashes(text: str) -> None:
    """crypt's formats, and the marks of a locked account."""
    assert node_values.password_hash(text) == text


@pytest.mark.parametrize(
    "text", ["hunter2", "", "$6$", "$6$a:b$xxxxxxxxxxxx", "x$6$salt$hashhashhash", "$6$salt$hash hash h"]
)
def test_what_is_no_password_hash(text: str) -> None:
    """A password in clear is refused without being repeated."""
    with pytest.raises(Bad) as bad:
        node_values.password_hash(text)
    assert text == "" or text not in str(bad.value)


def test_options_by_name_number_and_alias() -> None:
    """IANA's names, Kea's names, numbers; typed values."""
    assert node_values.dhcp_options(
        {"ntp-servers": ["10.0.0.1"], "interface-mtu": 9000, "224": "hex:0a0b"}
    ) == {
        42: ("10.0.0.1",),
        26: 9000,
        224: "hex:0a0b",
    }


def test_all_wrong_options_are_told_at_once() -> None:
    """Each at its key."""
    with pytest.raises(Many) as many:
        node_values.dhcp_options({"51": 60, "67": "x", "nope": 1, "26": 9000, "3": ["gw"]})
    assert [key for key, _ in many.value.each] == ["51", "67", "nope", "3"]


def test_a_cell_is_a_list_only_where_the_option_takes_one() -> None:
    """In a CSV file blanks part addresses, not words of a text."""
    cell = node_values.Cell
    assert node_values.dhcp_options({"42": cell("10.0.0.1 10.0.0.2"), "17": cell("a b")}) == {
        42: ("10.0.0.1", "10.0.0.2"),
        17: "a b",
    }


@pytest.mark.parametrize("word", ["quiet", "console=ttyS0,115200n8", "a=$HOME", "ip=dhcp"])
def test_kernel_parameters(word: str) -> None:
    """One word each; a dollar alone means nothing to the boot script."""
    assert node_values.kernel_parameter(word) == word


@pytest.mark.parametrize(
    "word", ["", "a b", "é", "a\n", "x=${net0/mac}", "netboot.server=x", "initrd=x", "BOOTIF=x"]
)
def test_words_that_a_boot_script_cannot_carry(word: str) -> None:
    """Blanks, iPXE's expansions, and the parameters that are the script's own."""
    with pytest.raises(Bad):
        node_values.kernel_parameter(word)


READERS = [
    node_values.label_key,
    node_values.label_value,
    node_values.taint,
    node_values.kubelet_argument,
    node_values.kubelet_value,
    node_values.kernel_parameter,
    node_values.ssh_key,
    node_values.password_hash,
    node_values.file_path,
    node_values.content,
    node_values.mode,
    node_values.sysctl,
    node_values.sysctl_value,
    node_values.mount_word,
    node_values.mount_point,
    node_values.host_names,
    node_values.cri_socket,
    node_values.dhcp_options,
    node_values.module,
    node_values.unit,
    node_values.timezone,
    node_values.program,
]


@given(ANYTHING, st.sampled_from(READERS))
def test_a_reader_gives_a_value_or_bad(value: object, read: object) -> None:
    """Nothing that YAML can hold raises anything but ValueError."""
    gives_a_value_or_bad(value, read)
