"""What training a part of the model takes in memory, from its configuration alone: no weights, no tensor library.

Weights, adapters, gradients and optimizer moments are exact: frozen weights are of the backbone's type or quantised, all that is
trained is float32. Activations are what autograd keeps between the forward and the backward pass of a batch of sequences, counted
in tensors per layer (`Family.keeps`): with adapters on the usual modules they are within some percent of what PyTorch keeps on a
processor (tests). A language model's head keeps its logits once more, in float32. Frozen linear layers keep nothing; a layer below
the first adapter is counted like the others. With gradient checkpointing what enters each layer is kept, and one layer's tensors.

Does not count the workspace of single operations (such as quantised weights made whole for a product), the framework itself, or
fragmentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ..execution.work import TensorSpec
from . import tensors
from .architecture import Architecture
from .families import FAMILIES
from .numbers import FLOAT, SINGLE, Numbers
from .options import LoraOptions, Part, Source, adapted, whole


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
    numbers: Numbers = SINGLE

    @classmethod
    def of(
        cls,
        source: Source,
        lora: LoraOptions,
        *,
        causal_lm: bool,
        labels: int,
        vocabulary: int,
        numbers: Numbers = SINGLE,
    ) -> Outline:
        """That of a backbone; ``vocabulary`` is only used where the backbone brings no tokenizer."""
        own = source.architecture.vocabulary if source.tokenizer is not None else vocabulary
        return cls(source.architecture, lora, causal_lm, labels, own, numbers)

    def states(self, count: int) -> TensorSpec:
        """Shape and type of the hidden states of ``count`` tokens."""
        return TensorSpec((count, self.shape.hidden), self.numbers.dtype)

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

    def weights(self, parts: Sequence[Part]) -> int:
        """Bytes of the frozen weights of ``parts`` together on one device."""
        layers, linear = sum(part.stop - part.start for part in parts), self.shape.linear()
        saved = sum(self.numbers.size * i * o - self.numbers.linear(i, o) for _, i, o in linear)
        return self.numbers.size * self.frozen(parts) - layers * saved

    def trained(self, parts: Iterable[Part]) -> int:
        """Number of trained parameters of ``parts``: adapters, and the class head."""
        rank, targets = self.lora.rank, adapted(self.shape, self.lora)
        layer = sum(rank * (i + o) for name, i, o in self.shape.linear() if name in targets)
        return sum(
            (p.stop - p.start) * layer + (self._class_head() if p.last and not self.causal_lm else 0) for p in parts
        )

    def activations(self, parts: Iterable[Part], batch: int, length: int) -> int:
        """Bytes that autograd keeps of one batch of so many sequences of ``length`` tokens; an estimate."""
        parts = list(parts)
        layers = sum(part.stop - part.start for part in parts)
        total, whole = layers * self._layer(length), layers
        if self.numbers.recomputed and layers:  # one layer at a time is whole again
            total, whole = layers * self.numbers.size * self.shape.hidden + self._layer(length), 1
        return int(batch * length * (total + sum(map(self._ends, parts)))) + whole * self._tables(length)

    def _tables(self, length: int) -> int:
        """Bytes that a layer keeps per batch: its tables, projected, and where in them each pair of tokens looks."""
        tables = FAMILIES[self.shape.family].tables(self.shape)
        return sum(self.numbers.size * table.rows * self.shape.hidden + 8 * length**2 for table in tables)

    def _layer(self, length: int) -> float:
        """Bytes that autograd keeps of a layer per token of sequences of ``length``."""
        shape, size, kept = self.shape, self.numbers.size, FAMILIES[self.shape.family].keeps(self.shape)
        d, q, k = shape.hidden, shape.heads * shape.head, shape.key_heads * shape.head
        total = size * (kept.norms * d + kept.inner * shape.inner) + FLOAT * (kept.single * d + kept.normed * (q + k))
        if kept.scores or kept.typed_scores:  # and the mask
            total += size * 3 * q + length * (1 + shape.heads * (FLOAT * kept.scores + size * kept.typed_scores))
        else:  # with a sum per head, and the mask as numbers
            total += size * (4 * q + length) + FLOAT * shape.heads
        for table in FAMILIES[shape.family].tables(
            shape
        ):  # what meets it is kept once more where its projection is trained
            total += size * (shape.heads * table.rows + q * (table.module.name in adapted(shape, self.lora)))
        fused = any(module.role == "qkv" for module in FAMILIES[shape.family].modules(shape))
        if fused and shape.longest is None and q == k:  # values are a view of all three, which stay
            total += size * (q + k)
        return total + self._adapted()

    def _ends(self, part: Part) -> int:
        """Bytes per token that autograd keeps of a part besides those of its layers."""
        kept, d = FAMILIES[self.shape.family].keeps(self.shape), self.shape.hidden
        norm, total = (self.numbers.size if kept.norms else FLOAT) * d, 0
        if part.first:  # nothing below asks for a gradient, so the first norm keeps nothing
            layers = part.start < part.stop and not self.numbers.recomputed
            total -= layers * (norm * kept.before + FLOAT * kept.normed * self.shape.key_heads * self.shape.head)
            roles = {
                m.role
                for m in FAMILIES[self.shape.family].modules(self.shape)
                if m.name in adapted(self.shape, self.lora)
            }
            eager = bool(kept.scores or kept.typed_scores) and not kept.normed and "key" not in roles
            total -= (
                layers * eager * self.numbers.size * self.shape.heads * self.shape.head
            )  # queries, for the keys' gradient
            beside = FAMILIES[self.shape.family].parallel(self.shape) and not {"up", "down"} & roles
            total -= layers * beside * int(self.numbers.size * kept.inner * self.shape.inner)
        else:  # states as they come, and where they belong in the padded batch
            total += self.numbers.size * d + 32
        if part.last and not (self.causal_lm or self.shape.decoder or tensors.pooler(self.shape)):
            total += FLOAT * d * (self.numbers.size == FLOAT)  # of all states, the head keeps a view of the first
        if part.last and self.causal_lm:
            total += norm + FLOAT * self.vocabulary
        return total

    def _adapted(self) -> int:
        """Bytes per token that the adapters of a layer keep: what enters A, which in float32 is there once, and what enters B."""
        family, targets, total = FAMILIES[self.shape.family], adapted(self.shape, self.lora), 0
        kept = family.keeps(self.shape)
        for roles in (("query", "key", "value", "qkv"), ("out",), ("up",), ("down",)):
            sizes = [m.inputs for m in family.modules(self.shape) if m.role in roles and m.name in targets]
            fused = not (kept.scores or kept.typed_scores)  # what attention gives is kept anyway
            there = not sizes or (fused and roles == ("out",)) or (kept.enters and roles == ("down",))
            total += FLOAT * len(sizes) * self.lora.rank
            total += FLOAT * sum(sizes) if self.numbers.size < FLOAT else FLOAT * (0 if there else max(sizes))
        return total

    def training(self, parts: Sequence[Part], batch: int, length: int) -> Footprint:
        """What it takes to train ``parts`` on one device."""
        return Footprint(self.weights(parts), 4 * FLOAT * self.trained(parts), self.activations(parts, batch, length))

    def served(self, copies: Sequence[Part], batch: int, length: int, *, shared: bool) -> Footprint:
        """What it takes a server to train ``copies`` of Part 2 side by side, each layer's weights held once.

        ``shared``: those with equal layers are one copy, but for what is kept between forward and backward pass.
        """
        layers = sorted({i for part in copies for i in range(part.start, part.stop)})
        heads = any(part.last for part in copies)
        trained = list(dict.fromkeys(copies)) if shared else copies
        return Footprint(
            self.weights([Part("layer", i, i + 1, last=heads and i == layers[-1]) for i in layers]),
            4 * FLOAT * sum(self.trained([part]) for part in trained),
            sum(self.activations([part], batch, length) for part in copies),
        )

    def aligning(self, texts: int, length: int) -> Footprint:
        """What it takes a server to align updates on so many calibration texts (see ``alignment``); an estimate.

        Weights up to the last layer; the four adapters that are compared; token ids, what goes in and out of a layer for the
        states and their derivative by each module's coefficient, and those derivatives in single and double precision.
        Measured on ``minilm`` (CPU), as growth of the process: 13 % more with 32 texts; 72 MB more with 8, libraries included.
        """
        shape, tokens = self.shape, texts * length
        modules = shape.layers * len(adapted(shape, self.lora)) + 1
        live = 2 * (1 + modules) * self._layer(length)
        derivatives = 3 * FLOAT * modules * shape.hidden
        layers = Part("align", 0, shape.layers, first=True, last=False)
        adapters = 4 * FLOAT * self.trained([whole(shape.layers)])
        return Footprint(self.weights([layers]), adapters, int(tokens * (2 * FLOAT + live + derivatives)))

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
