from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netboot.config import Config, examine, load
from netboot.errors import ConfigError
from netboot.model.inventory import BootOverride, Node
from netboot.model.machine import Mac
from netboot.model.settings import Taint


def farm(tmp_path: Path, content: str | bytes, name: str = "nodes.csv") -> Path:
    """A file whose only pool reads its nodes from `content`."""
    nodes = tmp_path / name
    nodes.write_bytes(content.encode() if isinstance(content, str) else content)
    file = tmp_path / "netboot.yaml"
    file.write_text(
        "networks: [{name: lab, subnet: 10.77.0.0/16, interface: br0, range: 10.77.9.0-10.77.9.255}]\n"
        "clusters: [{name: blue, endpoint: '10.77.0.1:6443'}]\n"
        f"pools: [{{name: farm, nodes_file: {nodes}}}]\n"
        "tags: {rack-1: {}, rack-2: {}}\n"
    )
    return file


def problems(tmp_path: Path, content: str | bytes, name: str = "nodes.csv") -> list[str]:
    found = examine([farm(tmp_path, content, name)])
    return [p.removeprefix(f"{tmp_path}/") for p in found.problems]


def test_a_csv_file_declares_nodes(tmp_path: Path) -> None:
    """A head line with key names, lists separated by blanks; empty cells say nothing."""
    config = load(
        [
            farm(
                tmp_path,
                "name,macs,address,tags,image\n"
                "m1,52:54:00:00:00:01 52-54-00-00-00-02,10.77.0.1,rack-1 rack-2,debian-12\n"
                "\n"
                "m2,525400000003,,,\n",
            )
        ]
    )
    first, second = config.inventory.nodes
    assert first == Node(
        name="m1",
        pool="farm",
        macs=(Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02")),
        address=IPv4Address("10.77.0.1"),
        tags=("rack-1", "rack-2"),
        image="debian-12",
    )
    assert second == Node(name="m2", pool="farm", macs=(Mac("52:54:00:00:00:03"),))
    assert config.files == (tmp_path / "netboot.yaml", tmp_path / "nodes.csv")


def test_a_csv_file_tells_what_nodes_are_known_by(tmp_path: Path) -> None:
    """Columns for every identity; a bad one is told with its line."""
    head = "name,macs,uuid,client_id,circuit_id,remote_id\n"
    good = "m1,52:54:00:00:00:01,4C4C4544-0042-3510-8054-B4C04F564232,hex:ff:01,ge0/1,hex:0a0b\n"
    (found,) = load([farm(tmp_path, head + good)]).inventory.nodes
    assert (found.uuid, found.client_id) == ("4c4c4544-0042-3510-8054-b4c04f564232", b"\xff\x01")
    assert (found.circuit_id, found.remote_id) == (b"ge0/1", b"\x0a\x0b")
    bad = "m2,52:54:00:00:00:02,4c4c4544,,,\nm3,52:54:00:00:00:03,,hex:0,,\n"
    assert [p.partition(":")[2].partition(":")[0] for p in problems(tmp_path, head + bad)] == ["2", "3"]


def test_places_at_relays_that_nobody_believes_are_told(tmp_path: Path) -> None:
    """The key stands there, and its network lists no relay agent."""
    (text,) = load([farm(tmp_path, "name,macs,circuit_id\nm1,52:54:00:00:00:01,ge0/1\n")]).warnings
    assert "networks[lab]" in text and "m1" in text and "relays" in text


def test_dots_in_the_head_line_name_nested_keys(tmp_path: Path) -> None:
    """Boot overrides, DHCP options of every type, settings."""
    config = load(
        [
            farm(
                tmp_path,
                "name,macs,boot.program,options.ntp-servers,options.26,options.domain-name,settings.labels.example.org/rack,"
                "settings.taints,settings.debug_shell,settings.kernel_parameters,settings.kubelet_args.v\n"
                "m1,52:54:00:00:00:01,ipxe.efi,10.0.0.1 10.0.0.2,9000,lab.example.org,r1,"
                "a=b:NoSchedule c:NoExecute,true,quiet splash,2\n",
            )
        ]
    )
    (node,) = config.inventory.nodes
    assert node.boot == BootOverride("ipxe.efi")
    assert node.options == {42: ("10.0.0.1", "10.0.0.2"), 26: "9000", 15: "lab.example.org"}
    assert node.settings.labels == {"example.org/rack": "r1"}
    assert node.settings.taints == (Taint("a", "b", "NoSchedule"), Taint("c", "", "NoExecute"))
    assert node.settings.debug_shell is True
    assert node.settings.kernel_parameters == ("quiet", "splash")
    assert node.settings.kubelet_args == {"v": "2"}


def test_a_jsonl_file_declares_one_node_per_line(tmp_path: Path) -> None:
    """The keys of the operator's file, in JSON."""
    config = load(
        [
            farm(
                tmp_path,
                '{"name": "m1", "macs": ["52:54:00:00:00:01"], "settings": {"labels": {"v": 1.10}}}\n'
                "\n"
                '{"macs": ["52:54:00:00:00:02"], "address": "10.77.0.2"}\n',
                "nodes.jsonl",
            )
        ]
    )
    first, second = config.inventory.nodes
    assert first.settings.labels == {"v": "1.10"}
    assert (second.name, second.address) == ("node-525400000002", IPv4Address("10.77.0.2"))


def test_nodes_of_both_places_are_one_inventory(tmp_path: Path) -> None:
    """A node of the file and one of its nodes file may not claim the same MAC."""
    file = farm(tmp_path, "name,macs\nm2,52:54:00:00:00:01\n")
    text = file.read_text().replace(
        "pools: [{name: farm,", "pools: [{name: farm, nodes: [{name: m1, macs: [52:54:00:00:00:01]}],"
    )
    file.write_text(text)
    (problem,) = examine([file]).problems
    assert problem == (
        f"{tmp_path}/nodes.csv:2: m2: the MAC 52:54:00:00:00:01 belongs to m1 too ({file}:3);"
        " keep it with one"
    )


def test_every_bad_line_is_told_with_its_number(tmp_path: Path) -> None:
    """One report: bad values, wrong counts of cells, contradictions between lines."""
    assert problems(
        tmp_path,
        "name,macs,address,tags\n"
        "m1,52:54:00:00:00:01,10.77.0.1,rack-1\n"
        "m2,52:54:00:00:00,10.77.0.256,\n"
        "m3,52:54:00:00:00:03\n"
        "M4,,,\n"
        "m5,52:54:00:00:00:01,10.77.0.5,rack-3\n"
        'm6,52:54:00:00:00:06,"10.77.0.6\n',
    ) == [
        'nodes.csv:3: m2: macs.0: "52:54:00:00:00" is not a MAC address;'
        ' address: "10.77.0.256" is not a machine\'s IPv4 address; write one like 52:54:00:12:34:56',
        "nodes.csv:4: 2 cells under 4 column names; write one cell per column, empty where there is no value",
        'nodes.csv:5: M4: name: "M4" is not a host name (RFC 1123); macs: this key is required;'
        " use lower-case letters, digits and dashes, at most 63, a letter or digit at both ends",
        'nodes.csv:6: m5: there is no "rack-3" under tags; declare it there; declared are rack-1, rack-2',
        f"nodes.csv:6: m5: the MAC 52:54:00:00:00:01 belongs to m1 too ({tmp_path}/nodes.csv:2);"
        " keep it with one",
        "nodes.csv:7: not valid CSV: unexpected end of data; look at the quotes of this line",
    ]


def test_a_bad_head_line_is_one_report(tmp_path: Path) -> None:
    """Unknown columns with a suggestion, doubled ones, and those that cells cannot hold."""
    found = problems(tmp_path, "name,macs,adress,macs,settings.files,options.\nm1,,,,,\n")
    assert found[:3] == [
        'nodes.csv:1: the column "macs" stands twice; keep one of the two',
        'nodes.csv:1: unknown column "adress"; did you mean address?',
        "nodes.csv:1: settings.files does not fit into cells; write it in a *.jsonl file or in a tag",
    ]
    assert found[3].startswith(
        'nodes.csv:1: unknown column "options."; take it out; known here: name, macs, '
    )
    assert "options.NAME" in found[3]
    assert len(found) == 4
    assert problems(tmp_path, "name,address\nm1,\n") == [
        "nodes.csv:1: the head line has no column macs; write the keys' names into the first line"
    ]


def test_bad_json_lines_are_told_with_their_numbers(tmp_path: Path) -> None:
    """Broken JSON, other values than objects, doubled keys, unknown keys, constants."""
    assert problems(
        tmp_path,
        '{"name": "m1", "macs": ["52:54:00:00:00:01"]\n[]\n{"macs": ["52:54:00:00:00:03"], "macs": []}\n'
        '{"macs": ["52:54:00:00:00:04"], "boot": {"programm": "x"}}\n{"macs": [NaN]}\n' + "[" * 100_000,
        "nodes.jsonl",
    ) == [
        "nodes.jsonl:1: not valid JSON: Expecting ',' delimiter; write one node per line",
        'nodes.jsonl:2: it is not a JSON object; write {"name": ..., "macs": [...]}',
        'nodes.jsonl:3: the key "macs" stands twice; keep one of the two',
        'nodes.jsonl:4: boot.programm: unknown key "programm"; did you mean program?',
        "nodes.jsonl:5: NaN is no value; write a number or a text",
        "nodes.jsonl:6: not valid JSON: nested too deep; write one node per line",
    ]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """The name says how to read it."""
    assert problems(tmp_path, "", "nodes.txt") == [
        "nodes.txt: it is neither *.csv nor *.jsonl; name it by what it holds"
    ]


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    """As the operator's file is."""
    assert problems(tmp_path, b"name,macs\n\xff,\n") == [
        "nodes.csv:2: the text is not UTF-8; write lines of an editor's plain UTF-8"
    ]


def test_a_missing_nodes_file_is_told_apart_from_a_wrong_file(tmp_path: Path) -> None:
    """`check` warns, everybody else refuses: a reload must not forget a farm's nodes."""
    file = farm(tmp_path, "")
    (tmp_path / "nodes.csv").unlink()
    found = examine([file])
    assert found.problems == ()
    assert found.absent == (
        f"{file}:3: pools[farm].nodes_file: {tmp_path}/nodes.csv cannot be read: No such file or directory;"
        " put the file there, or take nodes_file out",
    )
    with pytest.raises(ConfigError, match="nodes_file"):
        load([file])


def test_keys_without_effect_in_a_nodes_file_are_in_the_warning(tmp_path: Path) -> None:
    """With the first lines that have them."""
    rows = "".join(f"m{n},52:54:00:00:00:0{n},redfish,https://10.0.0.{n}\n" for n in range(1, 6))
    config = load([farm(tmp_path, "name,macs,bmc.driver,bmc.url\n" + rows)])
    places = ", ".join(f"{tmp_path}/nodes.csv:{line}" for line in (2, 3, 4))
    assert config.warnings == (f"accepted, but without effect yet: pools.nodes.bmc ({places} and 2 more)",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.sampled_from(["nodes.csv", "nodes.jsonl"]))
def test_any_bytes_give_nodes_or_a_report(tmp_path: Path, raw: bytes, name: str) -> None:
    """A nodes file of noise ends in a value or in a report."""
    try:
        assert isinstance(load([farm(tmp_path, raw, name)]), Config)
    except ConfigError as error:
        assert error.problems


_CELLS = st.sampled_from(
    ["m1", "52:54:00:00:00:01", "10.77.0.1", "rack-1", "", "x y", "true", "hex:00", '"', "1"]
)
_COLUMNS = st.sampled_from(
    [
        "name",
        "macs",
        "address",
        "tags",
        "uuid",
        "boot.program",
        "boot.quirks",
        "options.26",
        "options.routers",
        "settings.labels.a",
        "settings.debug_shell",
        "settings.taints",
        "bmc.driver",
        "bmc.url",
        "client_id",
        "image",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    st.lists(_COLUMNS, unique=True, min_size=1),
    st.lists(st.lists(_CELLS, min_size=16, max_size=16), max_size=3),
)
def test_right_columns_with_wrong_cells_give_a_report(
    tmp_path: Path, head: list[str], body: list[list[str]]
) -> None:
    """No cell breaks the reader."""
    lines = [",".join(head), *(",".join(row[: len(head)]) for row in body)]
    try:
        assert isinstance(load([farm(tmp_path, "\n".join(lines))]), Config)
    except ConfigError as error:
        assert error.problems
