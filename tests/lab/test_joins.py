"""Each join method without kubeadm once, from power-on to a Node object that is Ready."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509

from tests.lab.appliance import step
from tests.lab.canaries import Tokens, find, known_secrets, places, recorded
from tests.lab.site import Site, address_of, mac_of

pytestmark = pytest.mark.lab


def joined(site: Site, role: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Boot the machine of that role until it is Ready and says so itself: its boot and its Node object."""
    with site.machine(role) as machine:
        boot = site.wait_joined(machine, mac_of(role))
        machine.wait_until("the Node object is Ready", lambda: ready(site, role), 180)
        machine.wait_for_text(f"step join: done, {role} has joined", 180)
        node = site.node(role)
        assert node is not None
        return boot, node


def ready(site: Site, name: str) -> bool:
    """Whether its kubelet says that it is."""
    conditions = ((site.node(name) or {}).get("status") or {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def requests_for(site: Site, name: str) -> list[dict[str, Any]]:
    """The certificate requests for that node."""
    found = []
    for request in site.kube.control("objects", resource="certificatesigningrequests"):
        csr = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
        if f"CN=system:node:{name}," in csr.subject.rfc4514_string() + ",":
            found.append(request)
    return found


def test_a_node_joins_with_its_own_certificate_request(site: Site) -> None:
    """Submitted and approved by the appliance; no token is made, and the key stays on the machine."""
    boot, node = joined(site, "certificate")
    (request,) = requests_for(site, "certificate")
    assert request["spec"]["username"] == "system:serviceaccount:netboot:appliance"
    assert boot["id"] in request["status"]["conditions"][0]["message"]
    assert node["metadata"]["labels"]["lab"] == "micro"
    assert [step(boot, name) is not None for name in ("join", "registered", "ready")] == [True] * 3
    secrets = site.kube.control("objects", resource="secrets")
    assert not [s for s in secrets if "node certificate," in str(s.get("data"))]


def test_a_kubelet_asks_for_its_certificate_with_the_boots_token(site: Site) -> None:
    """TLS bootstrap, bound to its node: we approve, and the token is gone when the node is there."""
    boot, _ = joined(site, "bootstrap")
    (request,) = requests_for(site, "bootstrap")
    assert request["spec"]["username"].startswith("system:bootstrap:")
    token = request["spec"]["username"].removeprefix("system:bootstrap:")
    secrets = site.kube.control("objects", resource="secrets")
    assert f"bootstrap-token-{token}" not in {s["metadata"]["name"] for s in secrets}
    assert step(boot, "ready") is not None


def test_a_node_of_a_cluster_built_by_hand_joins_without_an_api_of_ours(
    site: Site, canaries: dict[str, str], tokens: Tokens
) -> None:
    """Certificates by the operator's authority: its own word ends the boot, and its Node object is Ready.

    No private key stands on the wire, in an answer, in a log or on the disk, least of all the authority's.
    """
    wire = site.directory / "byhand.pcap"
    with recorded(site, wire):
        boot, node = joined(site, "byhand")
    assert not requests_for(site, "byhand")
    assert {"type": "InternalIP", "address": address_of("byhand")} in node["status"]["addresses"]
    assert boot["state"] == "joined" and step(boot, "join") is not None
    seen = {"the wire": wire.read_bytes(), **places(site)}
    assert b"/boot/config" in seen["the wire"], "nothing was seen: the test would prove nothing"
    wrong = find(seen, known_secrets(site, canaries, tokens))
    assert not wrong, "\n".join(wrong)
