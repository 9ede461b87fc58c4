"""How near to the cloud a node is, by its role: what uplink and downlink mean."""

from __future__ import annotations

#: A message to a higher tier is uplink, to a lower one downlink. Routers only forward: they have no tier.
TIER = {"client": 0, "edge": 1, "cloud": 2}
