from __future__ import annotations

from pathlib import Path

import pytest

from netboot.cli import main
from netboot.config import here

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data" / "config"


@pytest.fixture
def bare_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has none of the files that a configuration names."""
    monkeypatch.setattr(here, "exists", lambda path: False)


def check(*args: str) -> int:
    return main(["check", *args])


@pytest.mark.usefixtures("bare_host")
def test_the_contract_gives_exactly_this_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """example.yaml is the contract word by word: what is refused until it works, what has no effect yet."""
    monkeypatch.chdir(DATA)
    assert check("--config", "example.yaml") == 1
    assert capsys.readouterr().out == (DATA / "example.txt").read_text()


@pytest.mark.usefixtures("bare_host")
def test_the_contract_without_its_refused_lines_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the lines that the report names the example exits 0."""
    lines = (DATA / "example.yaml").read_text().splitlines(keepends=True)
    report = (DATA / "example.txt").read_text().splitlines()
    refused = {int(line.split(":")[2]) for line in report if line.startswith("error: example.yaml:")}
    assert refused
    for number in refused:
        lines[number - 1] = "\n"
    file = tmp_path / "example.yaml"
    file.write_text("".join(lines))
    assert check("--config", str(file)) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{file}: accepted, 1 network, 3 clusters, 2 pools, 1 node, ")


@pytest.mark.usefixtures("bare_host")
def test_the_newcomers_file_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    """config/netboot.yaml exits 0; what is not there yet is a warning."""
    file = str(ROOT / "config" / "netboot.yaml")
    assert check("--config", file) == 0
    *warnings, summary = capsys.readouterr().out.splitlines()
    assert summary == f"{file}: accepted, 1 network, 2 clusters, 2 pools, 1 node, 3 warnings"
    assert [line.split(": ")[-2] for line in warnings] == [
        "clusters[blue].join.kubeconfig",
        "clusters[catchall].join.kubeconfig",
        "clusters[blue].image",
    ]


def test_a_doubled_key_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both lines, and exit status 1."""
    monkeypatch.chdir(DATA)
    assert check("--config", "bad-doubled-key.yaml") == 1
    assert capsys.readouterr().out == (
        'error: bad-doubled-key.yaml:5: the key "boot_port" stands twice: on line 3 and on line 5;'
        " keep one of the two\n"
        "warning: no network is declared: nothing will be served; write one under networks\n"
        "bad-doubled-key.yaml: refused, 1 problem, 1 warning\n"
    )


def test_unquoted_macs_and_modes_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    """52:54:00:12:34:56 without quotes, mode: 0644 without quotes."""
    text = (DATA / "no-traps.yaml").read_text()
    assert " 52:54:00:12:34:56" in text.replace("[", " ")
    assert "mode: 0644" in text
    assert check("--config", str(DATA / "no-traps.yaml")) == 0


def test_several_files_are_one_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--config may be given several times; the last line names them all."""
    (tmp_path / "a.yaml").write_text("networks: [{name: lab, subnet: 10.77.0.0/24}]\n")
    (tmp_path / "b.yaml").write_text("networks: [{name: lab, interface: br0}]\n")
    assert check("--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml")) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/a.yaml, {tmp_path}/b.yaml: accepted,"
        " 1 network, 0 clusters, 0 pools, 0 nodes, 0 warnings\n"
    )


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (
            "networks: [{name: lab, subnet: 10.77.0.0/24, interface: br0}]\n"
            "clusters: [{name: blue, endpoint: '10.77.0.1:6443'}]\n"
            "pools: [{nodes_file: /nowhere/nodes.csv}]\n",
            "3: pools[0].nodes_file: /nowhere/nodes.csv cannot be read",
        ),
        (
            "clusters:\n- name: blue\n  endpoint: 10.77.0.1:6443\n"
            "  join: {method: kubeadm, bind: cluster, kubeconfig: /nowhere/k}\n",
            "4: clusters[blue].join.kubeconfig: /nowhere/k is not there",
        ),
    ],
    ids=["nodes_file", "kubeconfig"],
)
def test_a_missing_file_is_a_warning_and_here_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, missing: str
) -> None:
    """The file may be checked on another host than the one it is for; there all must be in place."""
    file = tmp_path / "f.yaml"
    file.write_text(text)
    for option, word, status in (((), "warning", 0), (("--here",), "error", 1)):
        assert check(*option, "--config", str(file)) == status
        assert f"{word}: {file}:{missing}" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_a_problem_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is the system's own."""
    assert check("--config", str(tmp_path / "none.yaml")) == 1
    assert "it cannot be read: No such file or directory" in capsys.readouterr().out
