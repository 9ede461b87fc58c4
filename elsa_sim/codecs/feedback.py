"""Error feedback: what earlier messages lost goes along with later ones.

EF21, Richtarik, Sokolov, Fatkhullin (arXiv:2106.05203): sender and receiver keep the same estimate g of a tensor that is
sent again and again. Of a new value x the codecs after this one code the difference, ``c = C(x - g)``, and both sides
take ``g + c`` for x. What C loses stays in the next difference, so for a contractive C (`topk`, `quantize`, `int8`) the
estimate converges to a value that stays, however few bytes a message has. The older scheme (Seide et al., 2014;
Karimireddy et al., arXiv:1901.09847) adds the error to the next gradient; it fits sums, this one fits values.

Our reading: for adapters, which are the same tensor in every message; hidden states and their gradients belong to other
tokens each time, and are refused. Both sides start from the adapters that everyone starts from. The loop is closed at
the sender by decoding as the receiver will, and those FLOPs are charged. A message that is given up leaves the sender's
estimate as it was (the channel takes the state back): the sender is taken to know.

Does not capture: acknowledgements and their bytes; estimates kept at several servers for one client.

Tested in tests/codecs/test_fewer_bytes.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..base.lazy import lazy
from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, EncodedSpec, Keys, MessageContext

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


class Feedback(Codec):
    """Error feedback for adapters: later codecs code the difference to what the receiver has (EF21)."""

    closes_loop: ClassVar[bool] = True
    kind: Literal["feedback"] = "feedback"

    def start(self, keys: Keys) -> torch.Tensor | None:
        return keys.known

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(spec)

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        return 2.0 * spec.numel, float(spec.numel)  # a difference, and the sum on both sides

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        if message != "adapters":
            return f"needs the same tensor in every message; {message} messages are of other tokens each time"
        if before:
            return "codes differences of values, so it comes first in the chain"
        return super().objection(before, spec, message)

    def encode(self, x: torch.Tensor, state: torch.Tensor | None, context: MessageContext) -> tuple[Encoded, Any]:
        known = torch.zeros_like(x) if state is None else state.reshape(x.shape).to(x.dtype)
        return Encoded(x - known), known

    def settle(self, delivered: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return state + delivered

    def decode(
        self, data: Encoded, spec: TensorSpec, state: torch.Tensor | None, context: MessageContext
    ) -> tuple[torch.Tensor, Any]:
        value = data.main if state is None else state.reshape(spec.shape).to(data.main.dtype) + data.main
        return value, value
