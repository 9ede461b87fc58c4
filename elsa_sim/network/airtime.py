"""For how long a node sends or receives: what its radio spends energy on."""

from __future__ import annotations


class AirtimeCounter:
    """One direction of one node. The time in which anything flows is shared evenly by the messages that flow then.

    So the shares of all messages add up to the time in which the node was sending (or receiving), however many there
    were at once. Waiting, latency and stalls are in nobody's share.
    """

    __slots__ = ("_flowing", "_share_s", "_since")

    def __init__(self) -> None:
        self._flowing = 0
        self._share_s = 0.0  # of a message that would have flowed all the time
        self._since = 0.0

    def turn(self, now: float, on: bool) -> float:
        """A message begins or ceases to flow; the sum of what all its turns return is its share (s)."""
        if self._flowing:
            self._share_s += (now - self._since) / self._flowing
        self._since = now
        if on:
            self._flowing += 1
            return -self._share_s
        self._flowing -= 1
        return self._share_s
