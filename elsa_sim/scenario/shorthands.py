"""Short forms that a scenario may be written in.

Tested in tests/scenario/test_model.py.
"""

from __future__ import annotations

from ..network.options import NetworkOptions
from ..topology import TopologyFile
from .codec_options import in_lists
from .document import Document


def completed(document: Document) -> Document:
    """What may be left out is written out: kinds of a topology that names a file and of a transport, the list around a codec."""
    topology, network = document.data.get("topology"), document.data.get("network")
    if isinstance(topology, dict) and "file" in topology and "kind" not in topology:
        document = document.changed(("topology", "kind"), TopologyFile.model_fields["kind"].default)
    transport = network.get("transport") if isinstance(network, dict) else None
    if isinstance(transport, dict) and "kind" not in transport:
        document = document.changed(("network", "transport", "kind"), NetworkOptions().transport.kind)
    return in_lists(document)
