"""One seat for two machines, a claim over HTTPS, a root from a mirror: what `server` and `images` offer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import images
from tests.lab.appliance import Appliance
from tests.lab.namespace import ADDRESS, Lab, wait_until
from tests.lab.site import Site, scratch, server_user, write_yaml
from tests.support.certificates import authority, signature_list

pytestmark = pytest.mark.lab

MACS = ("52:54:00:77:0e:01", "52:54:00:77:0e:02")
STRICT = "52:54:00:77:0e:03"
"""A machine whose firmware is told to fetch its program over HTTPS."""
MIRROR = f"http://{ADDRESS}:8089"


def content(directory: Path) -> dict[str, object]:
    files = authority(old=True).write(directory, ADDRESS)
    for path in files.values():
        shutil.chown(path, server_user())
    nodes = [{"name": f"n{n}", "macs": [mac], "address": f"10.77.0.{60 + n}"} for n, mac in enumerate(MACS)]
    told = {"program": f"https://{ADDRESS}/programs/snponly.efi"}
    nodes.append({"name": "strict", "macs": [STRICT], "address": "10.77.0.69", "boot": told})
    return {
        "server": {
            "data_dir": str(directory / "data"),
            "images_dir": str(directory / "images"),
            "boot_https": {name: str(path) for name, path in files.items()},
            "storm": {"max_downloads": 1, "max_rate": "400Mbit"},
        },
        "networks": [{"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0"}],
        "images": {"micro": {"mirrors": [f"http://{ADDRESS}:9/nothing", MIRROR]}},
        "clusters": [
            {"name": "alone", "endpoint": f"{ADDRESS}:6443", "image": "micro", "join": {"method": "none"}}
        ],
        "pools": [{"name": "all", "cluster": "alone", "network": "lab", "nodes": nodes}],
        "tags": {"all": {"kernel_parameters": ["console=ttyS0,115200n8"]}},
    }


@pytest.fixture(scope="module")
def guarded() -> Iterator[Site]:
    """The appliance with a certificate, one seat, and a mirror that is a plain web server."""
    with scratch() as directory, ExitStack() as stack:
        images.build(directory / "images", micro=True)
        lab = stack.enter_context(Lab())
        heard = stack.enter_context((directory / "mirror.log").open("w"))
        server = subprocess.Popen(
            [*lab.prefix, sys.executable, "-m", "http.server", "8089", "--bind", ADDRESS],
            cwd=directory / "images",
            stdout=subprocess.DEVNULL,
            stderr=heard,
        )
        stack.callback(server.wait, 10)
        stack.callback(server.terminate)
        config = write_yaml(directory / "netboot.yaml", content(directory))
        appliance = stack.enter_context(Appliance(lab, [config], directory, directory / "data"))
        yield Site(lab, None, appliance, directory)


def test_two_machines_take_turns_and_claim_over_https(guarded: Site) -> None:
    """The second one waits and says so; both come up with a root from the mirror, through TLS."""
    with ExitStack() as stack:
        machines = [stack.enter_context(guarded.machine(f"n{n}", macs=[mac])) for n, mac in enumerate(MACS)]
        for machine, mac in zip(machines, MACS, strict=True):
            boot = guarded.wait_joined(machine, mac)
            assert "done" in next(s["detail"] for s in boot["steps"] if s["step"] == "squashfs")
    consoles = guarded.consoles  # complete once the power is off
    assert any("waiting for its turn to download" in console for console in consoles)
    fetched = (guarded.directory / "mirror.log").read_text()
    assert fetched.count('root.squashfs HTTP/1.1" 200') == 2
    assert "netboot-https" in subprocess.run(["ps", "-eo", "comm"], capture_output=True, text=True).stdout


def test_firmware_fetches_its_program_over_https_and_believes_our_ca_alone(guarded: Site) -> None:
    """EDK2 with our CA in its list boots on to iPXE's script; without it, it gets nothing."""
    trusted = guarded.directory / "cacerts.esl"
    trusted.write_bytes(signature_list((guarded.directory / "ca.pem").read_bytes()))
    with guarded.machine("strict", macs=[STRICT], firmware="efi-http", trusts=trusted) as machine:
        boot = guarded.wait_joined(machine, STRICT)
        assert "program" in {step["step"] for step in boot["steps"]}
    with guarded.machine("stranger", macs=[STRICT], firmware="efi-http") as machine:
        machine.wait_for_text("Could not retrieve NBP file size")


def test_plain_clients_are_served_beside_tls(guarded: Site) -> None:
    """curl over both: the same script, each with its own scheme."""
    ca = str(guarded.directory / "ca.pem")
    for url, more in ((f"http://{ADDRESS}", []), (f"https://{ADDRESS}", ["--cacert", ca])):
        done = subprocess.run(
            [*guarded.lab.prefix, "curl", "-sSf", "-m", "10", *more, f"{url}/boot.ipxe"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert f"{url}/ipxe?mac=" in done.stdout
    refused = subprocess.run(
        [*guarded.lab.prefix, "curl", "-sS", "-m", "10", f"https://{ADDRESS}/"], check=False
    )
    assert refused.returncode == 60  # curl: the certificate is not trusted


def test_a_renewed_certificate_is_taken_without_a_restart(guarded: Site) -> None:
    """The files are replaced: new connections are shown the new certificate."""
    fresh = authority()
    certificate, key = fresh.sign(ADDRESS)
    (guarded.directory / "certificate.pem").write_bytes(certificate)
    (guarded.directory / "key.pem").write_bytes(key)
    (guarded.directory / "new-ca.pem").write_bytes(fresh.pem)

    def served() -> bool:
        command = ["curl", "-sSf", "-m", "5", "--cacert", str(guarded.directory / "new-ca.pem")]
        done = subprocess.run(
            [*guarded.lab.prefix, *command, f"https://{ADDRESS}/boot.ipxe"], capture_output=True, check=False
        )
        return done.returncode == 0

    wait_until("the renewed certificate", served, 30)
