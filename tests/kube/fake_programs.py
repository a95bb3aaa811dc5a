"""Programs that stand where the real ones would: each writes down its command line.

`kube-apiserver` then becomes the API stand-in on the port that it was told, so that everything that the
harness asks of a real API server over HTTP is asked of something. The others wait, or are done.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """#!{python}
import json, os, shutil, sys, time
folder, name = {folder!r}, {name!r}
with open(os.path.join(folder, name + ".calls"), "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
flags = dict(a[2:].partition("=")[::2] for a in sys.argv[1:] if a.startswith("--"))
{body}
"""

_BODIES = {
    "etcd": "time.sleep(300)",
    "kube-controller-manager": "time.sleep(300)",
    "kube-apiserver": """
source = os.path.dirname(flags["client-ca-file"])
target = os.path.join(source, "standin")
os.makedirs(target)
for part in ("ca.crt", "ca.key"):
    shutil.copy(os.path.join(source, part), target)
os.environ["PYTHONPATH"] = {root!r}
listen = "127.0.0.1:" + flags["secure-port"]
os.execv(sys.executable, [sys.executable, "-m", "tests.kube.apiserver", "--listen", listen, "--dir", target])
""",
    "kubectl": "assert os.path.exists(flags['kubeconfig']) and os.path.exists(flags['filename'])",
    "kubeadm": """
sys.path.insert(0, {root!r})
root = os.environ["NODE_STANDIN_ROOT"] = os.path.dirname(flags["config"])
with open(flags["config"]) as file:
    config = file.read().replace('"kubeConfigPath": "' + root, '"kubeConfigPath": "')
with open(flags["config"], "w") as file:
    file.write(config)
program = os.path.join({root!r}, "images", "node-standin", "kubeadm")
os.execv(sys.executable, [sys.executable, "-SE", program, "join", "--config", flags["config"]])
""",
    "kubelet": "",
}


def install(folder: Path) -> Path:
    """Make the programs in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in _BODIES.items():
        filled = body.replace("{root!r}", repr(str(ROOT)))
        text = _SCRIPT.format(python=sys.executable, folder=str(folder), name=name, body=filled)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def calls(folder: Path, name: str) -> list[list[str]]:
    """The command lines of a program, in order."""
    file = folder / f"{name}.calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
