"""The node agent: fetching, unpacking, applying, network.sh, join; in a scratch root."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.images.appliance import SESSION, Answer, FakeAppliance, tar_of
from tests.images.shell import Done, Machine
from tests.support.certificates import authority

Members = Mapping[str, "bytes | tuple[bytes, int]"]
LEAST: Members = {"netboot/hostname": b"n1\n", "netboot/join/method": b"none\n"}


@pytest.fixture
def node(machine: Machine) -> Machine:
    """A claimed machine with key and certificate, whose system programs only note how they were called."""
    tools = machine.folder / "tools"
    tools.mkdir()
    for name in ("mount", "modprobe", "sysctl", "ip", "kubeadm", "chown"):
        program(machine, name, f'echo {name} "$@" >>{machine.folder}/called')
    machine.environment |= {
        "PATH": f"{tools}:{os.environ['PATH']}", "NB_MOUNT": str(tools / "mount"),
        "NB_MODPROBE": str(tools / "modprobe"), "NB_SYSCTL": str(tools / "sysctl"),
    }  # fmt: skip
    machine.cmdline("netboot.reboot_after=0")
    (machine.root / "root").mkdir()
    (machine.root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\nbin:*:19000:0:99999:7:::\n")
    for name, value in {
        "session": SESSION,
        "node": "n1",
        "device": "eth0",
        "mac": "52:54:00:12:34:56",
    }.items():
        machine.put(name, value)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=n1", "-days", "2",
         "-keyout", str(machine.run / "key.pem"), "-out", str(machine.run / "certificate.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return machine


def program(machine: Machine, name: str, script: str) -> None:
    """Put a stand-in for a system program first in the PATH."""
    path = machine.folder / "tools" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def called(machine: Machine) -> list[str]:
    """How the stand-ins were called."""
    path = machine.folder / "called"
    return path.read_text().splitlines() if path.exists() else []


def appliance_for(machine: Machine, members: Members) -> FakeAppliance:
    """An appliance that seals this configuration to the machine."""
    made = FakeAppliance(config={**LEAST, **members})
    made.certificate = (machine.run / "certificate.pem").read_text()
    machine.put("server", made.url)
    return made


def configure(machine: Machine, members: Members) -> tuple[Done, list[dict[str, object]]]:
    """Everything up to the join; how it ended, and the reports."""
    with appliance_for(machine, members) as appliance:
        done = machine.sh("nb_configure && echo CONFIGURED")
        return done, appliance.reports()


def test_the_whole_configuration_is_applied(node: Machine) -> None:
    """Each member reaches its place."""
    (node.root / "usr/share/zoneinfo/Europe").mkdir(parents=True)
    (node.root / "usr/share/zoneinfo/Europe/Prague").write_text("TZif")
    done, reports = configure(
        node,
        {
            "netboot/timezone": b"Europe/Prague\n",
            "netboot/root_password_hash": b"$6$salt$a/b.c&d\\e\n",
            "netboot/authorized_keys": b"ssh-ed25519 AAAA me\n",
            "netboot/hosts": b"10.28.0.9 registry.infra.example.org\n",
            "netboot/sysctl.conf": b"net.ipv4.ip_forward = 1\nkernel.core_pattern = a b=c\n",
            "netboot/modules": b"br_netfilter\noverlay\n",
            "netboot/fstab": b"tmpfs /var/lib/kubelet tmpfs defaults,x-systemd.wanted-by=a.service 0 0\n",
            "netboot/kubelet.env": b"KUBELET_EXTRA_ARGS='--node-labels=a=b'\n",
            "netboot/root/etc/systemd/journald.conf.d/size.conf": b"[Journal]\n",
            "netboot/root/root/.docker/config.json": (b"{}", 0o600),
        },
    )
    assert "CONFIGURED" in done.output, done.output
    etc = node.root / "etc"
    assert (etc / "hostname").read_text() == "n1\n"
    assert os.readlink(etc / "localtime") == "/usr/share/zoneinfo/Europe/Prague"
    assert (etc / "shadow").read_text().splitlines()[0] == "root:$6$salt$a/b.c&d\\e:19000:0:99999:7:::"
    assert (etc / "shadow").read_text().splitlines()[1].startswith("bin:*:")
    keys = node.root / "root/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 AAAA me\n" and stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert "10.28.0.9 registry.infra.example.org\n" in (etc / "hosts").read_text()
    assert (etc / "default/kubelet").read_text() == "KUBELET_EXTRA_ARGS='--node-labels=a=b'\n"
    assert "/var/lib/kubelet tmpfs" in (etc / "fstab").read_text()
    secret = node.root / "root/.docker/config.json"
    assert secret.read_text() == "{}" and stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert (etc / "systemd/journald.conf.d/size.conf").exists()
    calls = called(node)
    assert f"mount -t tmpfs tmpfs {node.root}/var/lib/kubelet" in calls
    assert calls.index("modprobe br_netfilter") < calls.index("sysctl -q -w net.ipv4.ip_forward=1")
    assert "sysctl -q -w kernel.core_pattern=a b=c" in calls
    config = [report for report in reports if report["step"] == "config"]
    assert config[-1]["detail"] == "done" and not config[-1]["failed"]


def test_the_configuration_lies_where_only_root_reads(node: Machine) -> None:
    """It holds a password hash and a token."""
    configure(node, {})
    assert stat.S_IMODE((node.run / "config").stat().st_mode) == 0o700


def test_a_setting_that_cannot_be_made_is_reported_but_does_not_stop_the_boot(node: Machine) -> None:
    """A module, a sysctl, a timezone: collected in the end of the step."""
    program(node, "modprobe", "echo not found >&2; exit 1")
    program(node, "sysctl", "echo no such key >&2; exit 1")
    done, reports = configure(
        node,
        {
            "netboot/modules": b"nosuch\n",
            "netboot/sysctl.conf": b"no.such.key = 1\n",
            "netboot/timezone": b"../etc/x\n",
        },
    )
    assert "CONFIGURED" in done.output
    detail = str([report for report in reports if report["step"] == "config"][-1]["detail"])
    assert detail.startswith("done, with problems: ")
    assert all(word in detail for word in ("nosuch", "not found", "no.such.key", "no such key", "../etc/x"))


def test_a_mount_that_fails_stops_the_boot(node: Machine) -> None:
    """Pods on a missing mount are worse than no node."""
    program(node, "mount", "echo no such device >&2; exit 32")
    done, reports = configure(node, {"netboot/fstab": b"/dev/sda1 /data ext4 defaults 0 0\n"})
    assert "CONFIGURED" not in done.output and "RESTART" in done.output
    assert reports[-1]["failed"] and "/dev/sda1 at /data" in str(reports[-1]["detail"])


def test_a_blank_in_fstab_is_written_as_octal(node: Machine) -> None:
    """As fstab(5) has it."""
    configure(node, {"netboot/fstab": b"tmpfs /mnt/a\\040b tmpfs size=1m 0 0\n"})
    assert f"mount -t tmpfs -o size=1m tmpfs {node.root}/mnt/a b" in called(node)


def test_folders_above_a_file_keep_their_modes(node: Machine) -> None:
    """A file in /root must not open /root, nor one in /etc close /etc."""
    (node.root / "root").chmod(0o700)
    (node.root / "etc").chmod(0o755)
    configure(node, {"netboot/root/root/a": b"x", "netboot/root/etc/b": b"y"})
    assert stat.S_IMODE((node.root / "root").stat().st_mode) == 0o700
    assert stat.S_IMODE((node.root / "etc").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "members",
    [
        {"netboot/../../evil": b"x"},
        {"etc/passwd": b"x"},
        {"/netboot/a": b"x"},
        {"netboot/root/../../a": b"x"},
    ],
)
def test_a_tar_that_climbs_out_is_refused(node: Machine, members: Members) -> None:
    """Nothing of it is unpacked."""
    (node.folder / "bad.tar").write_bytes(tar_of({**LEAST, **members}))
    assert "refused" in node.sh("nb_unpack bad.tar || echo refused").output
    assert not (node.folder / "evil").exists() and not (node.run / "config").exists()


def test_names_with_dots_are_no_climbing(node: Machine) -> None:
    """`.docker`, `a..b` and `..data` are plain names."""
    (node.folder / "good.tar").write_bytes(tar_of({**LEAST, "netboot/root/.a/a..b/..data": b"x"}))
    assert "fine" in node.sh("nb_unpack good.tar && echo fine").output


def test_a_configuration_for_another_key_is_refused(node: Machine) -> None:
    """What is not sealed to this machine is not opened."""
    with appliance_for(node, {}) as appliance:
        node.sh("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout other.key -out other.pem")
        appliance.certificate = (node.folder / "other.pem").read_text()
        output = node.sh("nb_configure").output
    assert "not sealed to this machine's key" in output and "RESTART" in output


@pytest.mark.parametrize(
    ("status", "text"), [(404, "no longer knows this boot"), (409, "an impostor lives under n1")]
)
def test_a_withheld_configuration_ends_the_boot_with_the_reason(
    node: Machine, status: int, text: str
) -> None:
    """Said once, not asked again."""
    with appliance_for(node, {}) as appliance:
        appliance.before = lambda asked: (
            Answer(status, b"an impostor lives under n1\n") if asked.path == "/boot/config" else None
        )
        output = node.sh("nb_configure").output
        assert len(appliance.to("/boot/config")) == 1
    assert text in output and "RESTART" in output


def test_a_configuration_that_is_not_ready_is_waited_for(node: Machine) -> None:
    """503: wait as long as told, show the reason, ask again."""
    waits = [Answer(503, b"the Node object is still Ready\n", {"Retry-After": "1"})]
    with appliance_for(node, {}) as appliance:
        appliance.before = lambda asked: waits.pop() if waits and asked.path == "/boot/config" else None
        done = node.sh("nb_configure && echo CONFIGURED")
    assert "CONFIGURED" in done.output and "the Node object is still Ready" in done.output


def test_network_sh_runs_with_its_environment(node: Machine) -> None:
    """What the machine knows, what the appliance sends, and nothing of the agent's own."""
    done, reports = configure(
        node,
        {
            "netboot/network.sh": b'echo "$HOSTNAME $DEVICE $MAC_ADDRESS $IPCONFIG_HOSTNAME" >"$OUT"\n'
            b'echo "$RACK [${NB_RUN-none}]" >>"$OUT"\n',
            "netboot/network.env": f"RACK='it is 7'\nOUT='{node.folder}/out'\n".encode(),
        },
    )
    assert "CONFIGURED" in done.output, done.output
    assert (node.folder / "out").read_text() == "n1 eth0 52:54:00:12:34:56 n1\nit is 7 [none]\n"
    assert [report["detail"] for report in reports if report["step"] == "network_script"][-1] == "done"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (b"echo the bond is broken >&2\nexit 7\n", ["exit status 7", "the bond is broken"]),
        (b"false\necho not reached\n", ["exit status 1"]),
        (b"die 'no switch'\n", ["exit status 1", "no switch"]),
    ],
)
def test_a_failing_network_sh_is_reported_with_its_words(
    node: Machine, script: bytes, reason: list[str]
) -> None:
    """Exit status and last lines; its `exit` does not take the agent with it."""
    done, reports = configure(node, {"netboot/network.sh": script})
    assert "CONFIGURED" not in done.output and "RESTART" in done.output
    assert reports[-1]["step"] == "network_script" and reports[-1]["failed"]
    assert all(word in str(reports[-1]["detail"]) for word in reason)


def test_a_network_sh_that_hangs_is_ended_with_all_its_children(node: Machine) -> None:
    """The time limit holds for what it started too."""
    node.environment["NB_NETWORK_LIMIT"] = "1"
    script = f"sleep 600 & echo $! >{node.folder}/child\nwait\n".encode()
    _, reports = configure(node, {"netboot/network.sh": script})
    assert "longer than 1 s" in str(reports[-1]["detail"])
    child = Path("/proc") / (node.folder / "child").read_text().strip()
    assert not child.exists() or "Z" in (child / "status").read_text().split("State:")[1][:4]


def test_the_interface_gets_a_dhcp_client_with_the_firmwares_identity(node: Machine) -> None:
    """And keeps the address it has until DHCP answers."""
    configure(node, {})
    text = (node.root / "run/systemd/network/90-netboot.network").read_text()
    assert "Name=eth0" in text and "ClientIdentifier=mac" in text and "KeepConfiguration=yes" in text


def test_an_interface_that_network_sh_took_over_is_left_alone(node: Machine) -> None:
    """Enslaved into a bond by commands: no DHCP client on the slave."""
    script = f"mkdir -p {node.sys}/class/net/eth0/master\n".encode()
    configure(node, {"netboot/network.sh": script})
    assert not (node.root / "run/systemd/network/90-netboot.network").exists()
    assert node.get("network_taken") == "1"


def join(machine: Machine, members: Members) -> tuple[Done, FakeAppliance]:
    """Configuration and join; how it ended and what the appliance heard."""
    with appliance_for(machine, members) as appliance:
        return machine.sh("nb_configure && nb_join && echo JOINED", timeout=120), appliance


KUBEADM: Members = {
    "netboot/join/method": b"kubeadm\n",
    "netboot/join/kubeadm.yaml": (b"kind: JoinConfiguration\n", 0o600),
}


def test_join_none_is_reported_and_finished(node: Machine) -> None:
    """The boot is complete without a cluster."""
    done, appliance = join(node, {})
    assert "JOINED" in done.output
    assert appliance.reports("join")[-1]["detail"] == "none"


def test_a_join_leaves_no_secret_behind(node: Machine) -> None:
    """kubeadm gets a file of mode 0600; private key and configuration are gone afterwards."""
    program(node, "kubeadm", f'echo "$@" >{node.folder}/arguments; stat -c %a "$3" >{node.folder}/mode')
    done, appliance = join(node, {**KUBEADM, "netboot/join/ignore_preflight": b"NumCPU,Mem\n"})
    assert "JOINED" in done.output, done.output
    assert (node.folder / "arguments").read_text().split() == [
        "join", "--config", f"{node.run}/config/netboot/join/kubeadm.yaml",
        "--ignore-preflight-errors=NumCPU,Mem",
    ]  # fmt: skip
    assert (node.folder / "mode").read_text() == "600\n"
    assert not (node.run / "key.pem").exists() and not (node.run / "config").exists()
    assert appliance.reports("join")[-1]["detail"] == "done"


def test_a_stale_token_asks_for_a_new_credential(node: Machine) -> None:
    """The configuration is fetched again and kubeadm tried with the new one."""
    program(
        node, "kubeadm",
        f'[ -e {node.folder}/second ] && exit 0; touch {node.folder}/second\n'
        'echo "error execution phase preflight: couldn\'t validate the identity of the API Server: '
        'could not find a JWS signature"; exit 1',
    )  # fmt: skip
    done, appliance = join(node, KUBEADM)
    assert "JOINED" in done.output
    assert len(appliance.to("/boot/config")) == 2


def test_a_second_kubeadm_finds_a_clean_machine(node: Machine) -> None:
    """One that failed half-way leaves files that the preflight of the next refuses; the rest stays."""
    etc, pki = node.root / "etc/kubernetes", node.root / "var/lib/kubelet/pki"
    made = f"{etc}/bootstrap-kubelet.conf {etc}/kubelet.conf {etc}/pki/ca.crt {pki}/kubelet-client.key.tmp"
    program(
        node, "kubeadm",
        f'[ -e {node.folder}/second ] && {{ cat {made} && exit 1; exit 0; }}\n'
        f'touch {node.folder}/second; mkdir -p {etc}/pki {pki}\nfor each in {made}; do echo x >$each; done\n'
        'echo "error execution phase kubelet-start: a Node n1 already exists"; exit 1',
    )  # fmt: skip
    own = etc / "manifests/mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("the operator's own")
    done, _ = join(node, KUBEADM)
    assert "JOINED" in done.output and own.exists()
    assert not [each for each in made.split() if Path(each).exists()]


def test_the_configuration_is_asked_for_at_most_five_times(node: Machine) -> None:
    """Then the join has failed, with kubeadm's own words and without the token."""
    program(
        node, "kubeadm", 'echo "error: token abcdef.0123456789abcdef: failed to verify JWS signature"; exit 1'
    )
    done, appliance = join(node, KUBEADM)
    assert len(appliance.to("/boot/config")) == 5
    report = appliance.reports("join")[-1]
    assert report["failed"] and "failed to verify JWS signature" in report["detail"]
    assert "RESTART" in done.output
    everything = done.output.encode() + b"".join(asked.body for asked in appliance.asked)
    assert b"0123456789abcdef" not in everything


@pytest.mark.parametrize(
    "text",
    [
        "error execution phase preflight: cluster CA found in cluster-info ConfigMap is invalid",
        "[preflight] Some fatal errors occurred:\n\t[ERROR NumCPU]: the number of CPUs is too small",
    ],
)
def test_what_a_new_credential_cannot_heal_fails_at_once(node: Machine, text: str) -> None:
    """A wrong CA and a failed preflight are for people."""
    (node.folder / "text").write_text(text)
    program(node, "kubeadm", f"cat {node.folder}/text; exit 1")
    _, appliance = join(node, KUBEADM)
    assert len(appliance.to("/boot/config")) == 1
    assert text.splitlines()[-1].strip()[:60] in appliance.reports("join")[-1]["detail"]


def test_an_unknown_join_method_is_named(node: Machine) -> None:
    """A newer appliance than the image."""
    done, _ = join(node, {"netboot/join/method": b"carrier-pigeon\n"})
    assert "carrier-pigeon" in done.output and "JOINED" not in done.output


TOKEN = "abcdef.0123456789abcdef"
BOOTSTRAP = json.dumps({"users": [{"user": {"token": TOKEN}}]})


def kubelet_members(method: str, **files: tuple[bytes, int]) -> Members:
    """What the appliance sends for a join without kubeadm."""
    return {
        "netboot/join/method": f"{method}\n".encode(),
        "netboot/join/server": b"https://127.0.0.1:6443\n",
        "netboot/join/root/etc/kubernetes/kubelet.conf": (b"{}", 0o600),
        "netboot/join/root/var/lib/kubelet/config.yaml": b'{\n  "kind": "KubeletConfiguration"\n}\n',
        "netboot/join/units/kubelet.service": b"[Service]\nExecStart=/usr/bin/kubelet\n",
        "netboot/join/units/kube-proxy.service": b"[Service]\nExecStart=/usr/bin/kube-proxy\n",
        **{f"netboot/join/root/{name.replace('__', '/')}": member for name, member in files.items()},
    }


def node_programs(
    node: Machine, *, answer: str = "HTTP/1.1 200 OK", restart: str = ":", version: str = "1.34.2"
) -> None:
    """kubelet, systemctl (which starts it) and an API server that answers so to our certificate."""
    program(node, "kubelet", f"echo Kubernetes v{version}")
    program(
        node,
        "systemctl",
        f'echo "$@" >>{node.folder}/systemctl\n[ "$*" != "restart kubelet" ] || {{ {restart}; }}',
    )
    node.environment["NB_KUBELET_PAUSE"] = "0.1"
    node.environment["NB_KUBELET_LIMIT"] = "1"
    node.environment["STUBS"] = (
        f'nb_node_object() {{ NB_API_ANSWER="says {answer}"; [ "{answer}" = "HTTP/1.1 200 OK" ]; }}'
    )


def join_kubelet(node: Machine, members: Members) -> tuple[Done, FakeAppliance]:
    """Configuration and join with a kubelet that is healthy."""
    health = FakeAppliance()
    health.before = lambda asked: Answer(200, b"ok")
    with health, appliance_for(node, members) as appliance:
        node.environment["NB_HEALTHZ"] = f"{health.url}/healthz"
        stubs = node.environment.pop("STUBS")
        return node.sh(f"{stubs}\nnb_configure && nb_join && echo JOINED", timeout=120), appliance


def test_static_lays_out_what_came_and_starts_the_kubelet(node: Machine) -> None:
    """Files with their modes, units where the image has none; secrets go from /run/netboot."""
    (node.root / "lib/systemd/system").mkdir(parents=True)
    (node.root / "lib/systemd/system/kubelet.service").write_text("the image's own\n")
    resolver = node.root / "run/systemd/resolve/resolv.conf"
    resolver.parent.mkdir(parents=True)
    resolver.write_text("nameserver 10.0.0.1\n")
    node.put("kubelet.key", "made in vain")
    node_programs(node)
    pki = "etc__kubernetes__pki__kubelet-client"
    own: Members = {"netboot/root/etc/kubernetes/pki/ca.crt": b"the operator's own"}
    ca = {"etc__kubernetes__pki__ca.crt": (b"the appliance's", 0o644)}
    made = {f"{pki}.crt": (b"CERTIFICATE", 0o644), f"{pki}.key": (b"KEY", 0o600)}
    done, appliance = join_kubelet(node, {**own, **kubelet_members("static", **made, **ca)})
    assert "JOINED" in done.output, done.output
    key = node.root / "etc/kubernetes/pki/kubelet-client.key"
    assert key.read_bytes() == b"KEY" and stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((node.root / "etc/kubernetes/kubelet.conf").stat().st_mode) == 0o600
    assert (node.root / "etc/kubernetes/pki/ca.crt").read_bytes() == b"the operator's own"
    assert not (node.root / "etc/systemd/system/kubelet.service").exists(), "the image has one"
    assert (node.root / "etc/systemd/system/kube-proxy.service").exists()
    config = json.loads((node.root / "var/lib/kubelet/config.yaml").read_text())
    assert config == {"resolvConf": "/run/systemd/resolve/resolv.conf", "kind": "KubeletConfiguration"}
    assert (node.folder / "systemctl").read_text().splitlines() == ["daemon-reload", "restart kubelet"]
    assert "no kube-proxy" in done.output
    assert not any((node.run / name).exists() for name in ("config", "key.pem", "kubelet.key"))
    assert appliance.reports("join")[-1]["detail"] == "done"


RUNTIME = "--container-runtime-endpoint=unix:///run/x.sock"


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        ("1.20.2", f"--container-runtime=remote {RUNTIME} --v=2"),
        ("1.26.15", f"{RUNTIME} --v=2"),
        ("1.27.0", "--v=2"),
        ("1.36.2", "--v=2"),
    ],
)
def test_an_older_kubelet_is_told_its_runtime_by_flags(node: Machine, version: str, flags: str) -> None:
    """The field came with 1.27, and the flag that turns Docker off went with it."""
    node_programs(node, version=version)
    runtime = {"containerRuntimeEndpoint": "unix:///run/x.sock", "rotateCertificates": True}
    members = kubelet_members("static", **{"etc__kubernetes__pki__kubelet-client.crt": (b"C", 0o644)})
    members["netboot/join/root/var/lib/kubelet/config.yaml"] = json.dumps(runtime, indent=2).encode()
    members["netboot/join/root/etc/kubernetes/netboot-kubelet.env"] = b"NETBOOT_KUBELET_ARGS='--v=2'\n"
    done, _ = join_kubelet(node, members)
    assert "JOINED" in done.output, done.output
    environment = (node.root / "etc/kubernetes/netboot-kubelet.env").read_text()
    assert environment == f"NETBOOT_KUBELET_ARGS='{flags}'\n"
    config = json.loads((node.root / "var/lib/kubelet/config.yaml").read_text())
    assert ("containerRuntimeEndpoint" in config) == (flags == "--v=2")


def test_certificate_joins_with_the_key_that_the_initrd_made(node: Machine) -> None:
    """It stays in /run/netboot; an image whose initrd made none is named."""
    members = kubelet_members("certificate", **{"etc__kubernetes__pki__kubelet-client.crt": (b"C", 0o644)})
    node_programs(node)
    done, appliance = join_kubelet(node, members)
    assert "JOINED" not in done.output and "initrd made no key" in str(
        appliance.reports("join")[-1]["detail"]
    )
    node.put("kubelet.key", "KEY")
    node_programs(node)
    done, _ = join_kubelet(node, members)
    assert "JOINED" in done.output, done.output
    assert node.get("kubelet.key") == "KEY"


def test_tls_bootstrap_removes_the_token_once_the_kubelet_has_its_certificate(node: Machine) -> None:
    """The bootstrap kubeconfig has served."""
    pem = node.root / "var/lib/kubelet/pki/kubelet-client-current.pem"
    bootstrap = node.root / "etc/kubernetes/bootstrap-kubelet.conf"
    node_programs(node, restart=f"grep -q {TOKEN} {bootstrap} && mkdir -p {pem.parent} && echo PEM >{pem}")
    member = (BOOTSTRAP.encode(), 0o600)
    members = kubelet_members("tls-bootstrap", **{"etc__kubernetes__bootstrap-kubelet.conf": member})
    done, appliance = join_kubelet(node, members)
    assert "JOINED" in done.output, done.output
    assert not bootstrap.exists() and pem.exists()
    everything = done.output.encode() + b"".join(asked.body for asked in appliance.asked)
    assert TOKEN.encode() not in everything


def test_a_kubelet_that_gets_no_certificate_asks_for_a_new_credential(node: Machine) -> None:
    """Five configurations at most; then the join has failed with the kubelet's words, without the token."""
    log = node.root / "var/log/kubelet.log"
    log.parent.mkdir(parents=True)
    node_programs(node, restart=f"echo 'E1121 failed to run Kubelet: {TOKEN} is unauthorized' >>{log}")
    done, appliance = join_kubelet(node, kubelet_members("tls-bootstrap"))
    assert len(appliance.to("/boot/config")) == 5
    report = appliance.reports("join")[-1]
    assert (
        report["failed"] and "has no certificate" in report["detail"] and "unauthorized" in report["detail"]
    )
    everything = done.output.encode() + b"".join(asked.body for asked in appliance.asked)
    assert b"0123456789abcdef" not in everything


@pytest.mark.parametrize(
    "line",
    [
        "failed to parse kubelet flag: unknown flag: --x",
        "certificate signing request is not approved: Denied",
    ],
)
def test_a_kubelet_that_no_credential_heals_fails_at_once(node: Machine, line: str) -> None:
    """A wrong flag and a denied request are for people."""
    log = node.root / "var/log/kubelet.log"
    log.parent.mkdir(parents=True)
    node_programs(node, restart=f"echo '{line}' >>{log}")
    _, appliance = join_kubelet(node, kubelet_members("tls-bootstrap"))
    assert len(appliance.to("/boot/config")) == 1
    assert line in appliance.reports("join")[-1]["detail"]


def test_an_api_server_that_does_not_know_us_is_told(node: Machine) -> None:
    """The kubelet is healthy, yet its Node object never comes."""
    node_programs(node, answer="HTTP/1.1 401 Unauthorized")
    node.environment["NB_JOIN_LIMIT"] = "0"
    members = kubelet_members("static", **{"etc__kubernetes__pki__kubelet-client.crt": (b"C", 0o644)})
    _, appliance = join_kubelet(node, members)
    assert "401 Unauthorized" in appliance.reports("join")[-1]["detail"]


def test_the_node_object_is_asked_for_with_our_certificate_at_a_proven_server(
    node: Machine, tmp_path: Path
) -> None:
    """openssl in the image: the right authority answers with our Node object, a wrong one does not count."""
    certificates = authority()
    pem = tmp_path / "server.pem"
    pem.write_bytes(b"".join(certificates.sign("127.0.0.1")))
    pki = node.root / "etc/kubernetes/pki"
    pki.mkdir(parents=True)
    (node.run / "config/netboot/join").mkdir(parents=True)
    node.put("node", "n1")
    with FakeAppliance(certificate=pem) as api:
        api.before = lambda asked: Answer(200, b"{}")
        (node.run / "config/netboot/join/server").write_text(f"{api.url}\n")
        for trusted, wanted in ((certificates, True), (authority(), False)):
            (pki / "ca.crt").write_bytes(trusted.pem)
            done = node.sh(f'nb_node_object {pem} {pem} && echo THERE; echo "$NB_API_ANSWER"')
            assert ("THERE" in done.output) == wanted, done.output
        assert [asked.path for asked in api.asked] == ["/api/v1/nodes/n1"]
    assert "does not answer us" in done.output
