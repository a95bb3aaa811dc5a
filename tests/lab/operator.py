"""The operator's own file in the lab: config/netboot.yaml, and a second with what is this lab's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.lab.namespace import ADDRESS
from tests.lab.site import write_yaml
from tests.lab.uplink import resolvers

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "netboot.yaml"
NODE = "m1c29"
MAC, SECOND_MAC = "52:54:00:77:00:1d", "52:54:00:77:01:1d"
NODE_ADDRESS = "10.77.0.29"


def operator_config(
    *, image: str | None = None, keys: Sequence[str] = ()
) -> Callable[[Path, Path], Sequence[Path]]:
    """A writer of the two files. The second has interface, addresses, MACs and paths; where asked for another
    image, and ssh keys that somebody holds the private half of."""

    def write(directory: Path, kubeconfig: Path) -> Sequence[Path]:
        (directory / "files").mkdir(exist_ok=True)
        content = overlay(directory, kubeconfig)
        if image:
            for cluster in content["clusters"]:
                cluster["image"] = image
        if keys:
            content["tags"] = {"all": {"ssh_authorized_keys": list(keys)}}
        # a copy, for the repository may lie below a home folder that the appliance's account cannot enter
        example = directory / EXAMPLE.name
        example.write_bytes(EXAMPLE.read_bytes())
        return [example, write_yaml(directory / "lab.yaml", content)]

    return write


def overlay(directory: Path, kubeconfig: Path) -> dict[str, Any]:
    """This lab's interface, addresses, MACs and paths."""
    endpoint, routed_out = endpoint_of(kubeconfig)
    join = {"kubeconfig": str(kubeconfig)}
    network: dict[str, Any] = {
        "name": "compute",
        "subnet": "10.77.0.0/24",
        "interface": "br0",
        "range": "10.77.0.100-10.77.0.199",
        "gateway": ADDRESS,
    }
    if routed_out:
        network["dns"] = resolvers()
    return {
        "server": {
            "address": ADDRESS,
            "data_dir": str(directory / "data"),
            "images_dir": str(directory / "images"),
            "files_dir": str(directory / "files"),
        },
        "networks": [network],
        "clusters": [
            {"name": "blue", "endpoint": endpoint, "join": join},
            {"name": "catchall", "endpoint": endpoint, "join": join},
        ],
        "pools": [
            {
                "name": "compute",
                "nodes": [{"name": NODE, "macs": [MAC, SECOND_MAC], "address": NODE_ADDRESS}],
            }
        ],
    }


def endpoint_of(kubeconfig: Path) -> tuple[str, bool]:
    """host:port of the current context's API, and whether it lies outside the lab. Raises ValueError."""
    try:
        content = yaml.safe_load(kubeconfig.read_text())
        contexts = {c["name"]: c["context"] for c in content["contexts"]}
        clusters = {c["name"]: c["cluster"] for c in content["clusters"]}
        url = urlsplit(clusters[contexts[content["current-context"]]["cluster"]]["server"])
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{kubeconfig} is no kubeconfig with a current context: {error!r}") from None
    if not url.hostname:
        raise ValueError(f"{kubeconfig} names no server")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{url.port or 443}", url.hostname != ADDRESS
