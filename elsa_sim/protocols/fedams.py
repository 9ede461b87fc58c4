"""FedAMS (Wang, Lin and Chen, ICML 2022, arXiv:2205.02719): FedAdam whose second moment never falls.

v^_t = max(v^_{t-1}, v_t, tau^2) takes the place of v_t, so steps do not grow when updates become rare or small. The paper's:
option 1 of its algorithm 1, with tau^2 for its epsilon. Does not model: the paper's compressed uploads with error
feedback (FedCAMS); that is a codec of the ``adapters``.
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .fedadam import AdaptiveServer


class FedAms(AdaptiveServer):
    """FedAvg with max-stabilised Adam on the cloud (FedAMS, arXiv:2205.02719)."""

    maximum: ClassVar[bool] = True
    kind: Literal["fedams"] = "fedams"
