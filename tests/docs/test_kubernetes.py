"""docs/kubernetes.md and docs/clusters.md name what there is: tests, manifests, verbs, headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
RECIPES = (ROOT / "docs" / "clusters.md").read_text()
TABLE = dict(re.findall(r"^\| (R\d+) \|.*\| (.*) \|$", PAGE, re.MULTILINE))


def test_each_requirement_has_its_row() -> None:
    """R1 to R20."""
    assert list(TABLE) == [f"R{n}" for n in range(1, 21)]


@pytest.mark.parametrize("requirement", TABLE)
def test_the_tests_of_a_requirement_are_there(requirement: str) -> None:
    """Each test that its row names."""
    for file, _, name in re.findall(r"`(tests/[\w/]+\.py)(::(\w+))?`", TABLE[requirement]):
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(), name


def test_each_manifest_is_described() -> None:
    """The table of what the appliance may do, and the folder."""
    described = set(re.findall(r"^\| `([\w-]+\.yaml)` \|", PAGE, re.MULTILINE))
    assert described == {path.name for path in (ROOT / "config" / "kubernetes").glob("*.yaml")}


def test_manifests_that_are_named_are_there() -> None:
    """In both pages."""
    for name in re.findall(r"config/kubernetes/([\w-]+\.yaml)", PAGE + RECIPES):
        assert (ROOT / "config" / "kubernetes" / name).is_file(), name


def test_links_within_the_recipes_lead_somewhere() -> None:
    """Headings as GitHub names them."""
    headings = {_anchor(h) for h in re.findall(r"^#+ (.*)$", RECIPES, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", RECIPES)) <= headings


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_clusters_of_the_recipes_are_accepted(tmp_path: Path) -> None:
    """Every piece of the operator's file that they show."""
    from netboot.config import examine

    pieces = [p for p in re.findall(r"```yaml\n(.*?)```", RECIPES, re.DOTALL) if p.startswith("clusters:")]
    assert len(pieces) == 2
    for number, piece in enumerate(pieces):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(piece)))
        examined = examine([file])
        assert examined.config is not None, examined


def _examples(page: str, language: str) -> list[str]:
    """The examples of a page in one language, those inside of lists, too."""
    fences = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", page, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in fences]


@pytest.mark.parametrize("page", [PAGE, RECIPES], ids=["kubernetes.md", "clusters.md"])
def test_every_example_in_yaml_is_yaml(page: str) -> None:
    """Those for other programs than ours, too."""
    examples = _examples(page, "yaml")
    assert examples and all(document for text in examples for document in yaml.safe_load_all(text))


def test_the_control_plane_in_a_pod_is_started_with_what_joins_need() -> None:
    """The flags that kubeadm would set, and a real cluster of the tests has."""
    (example,) = (text for text in _examples(RECIPES, "yaml") if "kind: StatefulSet" in text)
    pod = next(d for d in yaml.safe_load_all(example) if d["kind"] == "StatefulSet")["spec"]["template"][
        "spec"
    ]
    flags = {c["name"]: set(c["command"]) for c in pod["containers"]}
    assert flags["kube-apiserver"] >= {
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth=true",
    }
    assert "--controllers=*,bootstrapsigner,tokencleaner" in flags["kube-controller-manager"]
    assert {"--cluster-signing-cert-file=/pki/ca.crt", "--cluster-signing-key-file=/pki/ca.key"} <= flags[
        "kube-controller-manager"
    ]


def test_each_join_method_has_its_row_on_certificates() -> None:
    """Who renews which certificate."""
    from netboot.cluster.rights import TOKEN_METHODS

    table = RECIPES.split("## Who renews which certificate")[1].split("\n\n")[0]
    rows = set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))
    assert rows == {*TOKEN_METHODS, "certificate", "static"}
