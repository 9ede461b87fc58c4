"""Round trips of ICMP echos: ``{"to": address, "count": n}`` on stdin, seconds on stdout. Standard library only."""

from __future__ import annotations

import json
import socket
import struct
import sys
import time


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def main() -> None:
    """Send echos one after another, and wait for each."""
    task = json.load(sys.stdin)
    trips = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(2.0)
        for number in range(task["count"]):
            body = struct.pack("!HH", 0xE15A, number) + bytes(56)
            request = struct.pack("!BBH", 8, 0, checksum(b"\x08\x00\x00\x00" + body)) + body
            begin = time.monotonic()
            sock.sendto(request, (task["to"], 0))
            try:
                while True:
                    reply = sock.recv(2048)[20:]
                    if reply[0] == 0 and reply[4:8] == body[:4]:
                        break
            except TimeoutError:
                continue
            trips.append(time.monotonic() - begin)
            time.sleep(0.01)
    json.dump(trips, sys.stdout)


if __name__ == "__main__":
    main()
