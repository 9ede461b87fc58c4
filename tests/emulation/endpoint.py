"""One host of the emulation: sends and receives real buffers over TCP, as told in JSON on stdin; times in JSON on stdout.

``{"receive": [port, ...], "send": [[host, port, bytes, at], ...], "window": bytes, "deadline": s}``, with times of the
monotonic clock, which all network namespaces share. Connections are made before the time to send. A receiver notes when
the last byte has arrived. It runs as a script of its own, so that it needs the standard library only.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

CHUNK = bytes(65536)


def receive(listener: socket.socket, port: int, ends: dict[int, float]) -> None:
    """Read one connection to its end."""
    connection, _ = listener.accept()
    while connection.recv(65536):
        ends[port] = time.monotonic()


def connected(host: str, port: int, window: int) -> socket.socket:
    """A connection with a send buffer of ``window`` bytes, as soon as the other side listens."""
    while True:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        try:
            connection.connect((host, port))
        except ConnectionRefusedError:
            connection.close()
            time.sleep(0.02)
        else:
            return connection


def send(host: str, port: int, nbytes: int, at: float, window: int) -> None:
    """Connect, wait for the time, and send."""
    with connected(host, port, window) as connection:
        time.sleep(max(0.0, at - time.monotonic()))
        left = nbytes
        while left > 0:
            left -= connection.send(CHUNK[: min(left, len(CHUNK))])


def main() -> None:
    """Do as told."""
    task = json.load(sys.stdin)
    ends: dict[int, float] = {}
    threads = []
    for port in task["receive"]:
        listener = socket.create_server(("0.0.0.0", port))
        threads.append(threading.Thread(target=receive, args=(listener, port, ends), daemon=True))
    for host, port, nbytes, at in task["send"]:
        threads.append(threading.Thread(target=send, args=(host, port, nbytes, at, task["window"]), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, task["deadline"] - time.monotonic()))
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
