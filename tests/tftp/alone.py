"""The TFTP process without its control: `python -m tests.tftp.alone ADDRESS PORT FOLDER [--single-port]`.

It serves FOLDER from ADDRESS until it is told to end, in whatever network namespace it was started.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

from netboot.proc import messages
from netboot.tftp.server import Server


def main(address: str, port: str, folder: str, *flags: str) -> None:
    """Configure the process as control does, and read what it reports so that it never waits."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, int(port)))
    ours, theirs = messages.pair()
    body = {"images_dir": folder, "files_dir": folder, "program_dirs": []}
    limits = {"max_transfers": 1000, "per_client": 1000, "single_port": int("--single-port" in flags)}
    messages.send(ours, "configure", {**body, **limits}, fds=(os.dup(listener.fileno()),))
    threading.Thread(target=_listen, args=(ours,), daemon=True).start()
    print("serving", flush=True)
    Server(theirs).run()


def _listen(channel: socket.socket) -> None:
    channel.setblocking(True)
    while channel.recv(messages.MAX_MESSAGE):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
