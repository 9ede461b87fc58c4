"""Sign flipping: a client trains, and sends its change with the other sign, enlarged.

theta_received - factor * (theta_trained - theta_received), as the "reversed gradient" of Blanchard et al. (NIPS 2017) and the
sign-flipping attack of Li et al. (arXiv:1811.03761). FLOPs: 3 per element.
Tested in tests/learning/misbehaviour/test_base.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...base.units import MOST_FACTOR
from ..execution.work import Ref, Work
from .base import Misbehaviour

if TYPE_CHECKING:
    from torch import Tensor


class SignFlip(Misbehaviour):
    """Sends its change with the other sign, times a factor."""

    kind: Literal["sign_flip"] = "sign_flip"
    factor: float = Field(1.0, gt=0.0, le=MOST_FACTOR)
    """How many times the change."""

    def send(self, received: Ref, trained: Ref) -> Work:
        assert isinstance(trained.spec, Mapping)

        def function(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[dict[str, Tensor]]:
            return ({name: before[name] - self.factor * (t - before[name]) for name, t in after.items()},)

        flops = 3.0 * sum(spec.numel for spec in trained.spec.values())
        return Work("sign flip", function, (received, trained), (trained.spec,), flops)
