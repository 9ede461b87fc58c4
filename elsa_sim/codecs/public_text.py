"""Hidden states of a task's public text after every layer, with the adapters of a round.

Tested in tests/codecs/test_fewer_bytes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..learning.backbone.options import Part
from .public import Public, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from ..learning.backbone.model import Backbone
    from ..learning.execution.work import Ref
    from ..learning.tasks.data import Batch
    from ..learning.training.model import Model


class PublicText(Public):
    """Runs public ``batches`` through the whole model; remembers what it found.

    ``every`` are the numbers of rounds after which some codec is fitted anew: only adapters of such rounds are kept.
    """

    def __init__(self, model: Model, batches: Iterable[Batch], initial: Ref, every: Iterable[int] = ()) -> None:
        super().__init__()
        self.model, self.batches = model, tuple(batches)
        self.every = tuple(every)
        self._adapters: dict[int, Ref] = {0: initial}
        self._sampled: dict[tuple[int, int], Sample] = {}

    def refer(self, adapters: Ref, round: int) -> None:
        """Take note of the aggregated ``adapters`` after ``round``."""
        if any(round % every == 0 for every in self.every):
            self._adapters.setdefault(round, adapters)

    def sample(self, layer: int, round: int) -> Sample:
        key = layer, max(known for known in self._adapters if known <= round)
        if key not in self._sampled:
            self._sampled[key] = hidden(self.model.backbone, self._adapters[key[1]].value, self.batches, layer)
        return self._sampled[key]


def hidden(backbone: Backbone, adapters: Mapping[str, Tensor], batches: Iterable[Batch], layer: int) -> Sample:
    """States of all valid tokens of ``batches`` after ``layer`` layers, and their texts numbered from 0."""
    import torch

    from ..learning.training.reference import pack_tokens

    part, states, texts, before = Part("public", 0, layer, first=True), [], [], 0
    for batch in batches:
        lengths = torch.from_numpy(batch.lengths).to(backbone.device)
        with torch.no_grad():
            padded = backbone.call(adapters, part, torch.from_numpy(batch.tokens).to(backbone.device), lengths)
        states.append(pack_tokens(padded, batch.lengths))
        numbers = torch.arange(before, before + len(lengths), device=backbone.device)
        texts.append(numbers.repeat_interleave(lengths))
        before += len(lengths)
    return Sample(torch.cat(states), torch.cat(texts))
