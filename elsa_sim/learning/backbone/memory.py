"""What training a part of the model takes in memory, from its configuration alone: no weights, no tensor library.

Weights, adapters, gradients and optimizer moments are exact; all are float32. Activations are an estimate of what
autograd keeps between the forward and the backward pass of a batch of B sequences of T tokens:

    4 B (n_layers T (a D + b I + r) + (T V if the head predicts tokens)) bytes

with hidden size D, inner size I, adapter rank r, vocabulary V, and per family a and b, the hidden- and inner-sized tensors
that a layer keeps: attention's inputs and output, those of norms and of the activation function. Attention is taken to be
computed without keeping its T x T matrix, but by DeBERTa. Frozen linear layers keep nothing, which is why a is small; a
layer below the first adapter keeps nothing at all, but is counted (of a feed-forward block beside attention, not behind it,
the first is not). Does not count the workspace of single operations, the framework itself, or fragmentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from . import tensors
from .architecture import Architecture
from .families import FAMILIES
from .options import LoraOptions, Part, Source, adapted, whole

FLOAT = 4


@dataclass(frozen=True)
class Footprint:
    """Bytes that training some parts takes, by what they are."""

    weights: int
    """Frozen weights: once per device, however many copies of a part are trained on it."""
    adapters: int
    """Everything that is trained, with its gradient and the two moments of AdamW: once per copy."""
    activations: int
    """What one copy keeps between its forward and its backward pass."""

    def total(self, copies: int = 1) -> int:
        """Bytes for so many copies side by side on one device."""
        return self.weights + copies * (self.adapters + self.activations)


@dataclass(frozen=True)
class Outline:
    """The sizes of a transformer with adapters and a head."""

    shape: Architecture
    lora: LoraOptions
    causal_lm: bool
    labels: int
    vocabulary: int

    @classmethod
    def of(cls, source: Source, lora: LoraOptions, *, causal_lm: bool, labels: int, vocabulary: int) -> Outline:
        """That of a backbone; ``vocabulary`` is only used where the backbone brings no tokenizer."""
        own = source.architecture.vocabulary if source.tokenizer is not None else vocabulary
        return cls(source.architecture, lora, causal_lm, labels, own)

    @property
    def outputs(self) -> int:
        """Numbers that the head gives for a state: classes, or tokens."""
        return self.vocabulary if self.causal_lm else self.labels

    def frozen(self, parts: Iterable[Part]) -> int:
        """Number of frozen parameters of ``parts`` together on one device; what is tied counts once."""
        total, tables, layered = 0, set[str](), False
        for part in parts:
            below, layers, above = _frozen(self.shape)
            total += sum(layers[part.start : part.stop])
            layered |= part.start < part.stop
            if part.first:
                total += below
                tables.add("tokens")
            if part.last:
                total += above
                if self.causal_lm:
                    tables.add("tokens" if self.shape.tied else "head")
        shared = _count(FAMILIES[self.shape.family].shared(self.shape)) if layered else 0
        return total + shared + len(tables) * self.vocabulary * self.shape.hidden

    def trained(self, parts: Iterable[Part]) -> int:
        """Number of trained parameters of ``parts``: adapters, and the class head."""
        rank, targets = self.lora.rank, adapted(self.shape, self.lora)
        layer = sum(rank * (i + o) for name, i, o in self.shape.linear() if name in targets)
        return sum(
            (p.stop - p.start) * layer + (self._class_head() if p.last and not self.causal_lm else 0) for p in parts
        )

    def activations(self, parts: Iterable[Part], batch: int, length: int) -> int:
        """Bytes that autograd keeps of one batch of so many sequences of ``length`` tokens; an estimate."""
        a, b = FAMILIES[self.shape.family].kept
        scores = FAMILIES[self.shape.family].kept_scores * self.shape.heads * length
        per_token = 0.0
        for part in parts:
            kept = a * self.shape.hidden + b * self.shape.inner + self.lora.rank + scores
            per_token += (part.stop - part.start) * kept
            per_token += self.vocabulary if part.last and self.causal_lm else 0
            if part.first and part.stop > 0 and FAMILIES[self.shape.family].parallel(self.shape):
                per_token -= 2 * self.shape.hidden + b * self.shape.inner
        return int(FLOAT * batch * length * per_token)

    def training(self, parts: Sequence[Part], batch: int, length: int) -> Footprint:
        """What it takes to train ``parts`` on one device."""
        return Footprint(
            FLOAT * self.frozen(parts), 4 * FLOAT * self.trained(parts), self.activations(parts, batch, length)
        )

    def served(self, copies: Sequence[Part], batch: int, length: int, *, shared: bool) -> Footprint:
        """What it takes a server to train ``copies`` of Part 2 side by side, each layer's weights held once.

        ``shared``: those with equal layers are one copy, but for what is kept between forward and backward pass.
        """
        layers = sorted({i for part in copies for i in range(part.start, part.stop)})
        heads = any(part.last for part in copies)
        trained = list(dict.fromkeys(copies)) if shared else copies
        return Footprint(
            FLOAT * self.frozen(Part("layer", i, i + 1, last=heads and i == layers[-1]) for i in layers),
            4 * FLOAT * sum(self.trained([part]) for part in trained),
            sum(self.activations([part], batch, length) for part in copies),
        )

    def aligning(self, texts: int, length: int) -> Footprint:
        """What it takes a server to align updates on so many calibration texts (see ``alignment``); an estimate.

        Weights up to the last layer; the four adapters that are compared; token ids, what goes in and out of a layer for the
        states and their derivative by each module's coefficient, and those derivatives in single and double precision.
        Measured on ``minilm`` (CPU), as growth of the process: 13 % more with 32 texts; 72 MB more with 8, libraries included.
        """
        (a, b), shape, tokens = FAMILIES[self.shape.family].kept, self.shape, texts * length
        modules = shape.layers * len(adapted(shape, self.lora)) + 1
        live = 2 * FLOAT * (1 + modules) * (a * shape.hidden + b * shape.inner + self.lora.rank)
        derivatives = 3 * FLOAT * modules * shape.hidden
        layers = Part("align", 0, shape.layers, first=True, last=False)
        adapters = 4 * FLOAT * self.trained([whole(shape.layers)])
        return Footprint(FLOAT * self.frozen([layers]), adapters, int(tokens * (2 * FLOAT + live + derivatives)))

    def _class_head(self) -> int:
        return _count(tensors.class_head(self.shape, self.labels))


@cache
def _frozen(shape: Architecture) -> tuple[int, tuple[int, ...], int]:
    """Frozen parameters below the first layer, of each layer, and above the last one; the token table left out."""
    family = FAMILIES[shape.family]
    table = shape.vocabulary * shape.hidden
    above = _count(family.above(shape)) + _count(family.pooler(shape))
    layers = tuple(_count(family.layer_tensors(shape, index)) for index in range(shape.layers))
    return _count(family.below(shape)) - table, layers, above


def _count(sizes: Mapping[str, tensors.Shape]) -> int:
    return sum(math.prod(size) for size in sizes.values())
