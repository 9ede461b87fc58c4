"""Computational sketch: a count sketch per token vector.

ELSA, arXiv:2601.13824 (the sketch of activations and gradients, Y hash rows of Z buckets, ratio rho = D/(Y Z)); count
sketch and median decoder after Charikar, Chen, Farach-Colton, Finding frequent items in data streams, ICALP 2002.

A row h of ``[n, D]`` crosses as a table of Y Z numbers: bucket z of row y holds ``t_yz = sum of s_yd h_d over the d
with b_yd = z``, buckets b_yd uniform in 0..Z-1, signs s_yd = +-1. Row y estimates coordinate d by ``s_yd t_y,b_yd``:
unbiased, with variance ``sum of h_d'^2 over d' != d, divided by Z``. Decoders:

- ``median`` over the Y estimates (the paper's); for even Y the mean of the middle two. Good where few coordinates
  are large; for a dense vector at rho > 1 its error is above that of ``mean``.
- ``mean`` m of the Y estimates: unbiased, E||m - h||^2 = (D - 1)/(Y Z) ||h||^2: over 100 % error for rho > 1.
- ``shrink``: c m with the c that minimises ||c m - h||^2, which is <m, h> / ||m||^2. It needs no assumption and no
  side information, because <m, h> = ||t||^2 / Y: each row of the table has <estimate of row y, h> = ||t_y||^2. So for
  every single h and hash, ||c m - h|| <= ||h||, and no other factor, such as the best constant one YZ/(YZ + D - 1)
  with its relative error (D - 1)/(YZ + D - 1), does better. Biased towards zero.
- ``linear``: the least-squares estimate ``m + A (t - S m)`` of :mod:`.estimate`, from the mean and covariance of public text
  at the cut (the pseudo-inverse of S without public text; exact from as many buckets as coordinates on). Its buckets are
  filled evenly. It is linear, so the codec is part of the forward computation (``in_graph``), and gradients cross by the
  exact chain rule: a row g of ``[n, D]`` as ``g A``, read as ``g A S``, with as many numbers on the wire and no further
  loss. With ``refresh_every`` the moments are those of the public text under the adapters as aggregated then, which anyone
  who has these can compute; no bytes are counted.

Our reading: buckets and signs are fully random (not pairwise independent) and derive from the shared key, D, Y and Z,
so only the table crosses, as float32. But for ``linear``, gradients are coded like activations (straight-through): the codec
is not part of the forward computation's derivative.

Does not capture: heavy-hitter recovery, hashes renewed per message, FLOPs of the fit of ``linear`` (every node fits by itself).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from ..base.lazy import lazy
from ..base.streams import Streams
from ..base.units import MOST_COUNT
from ..learning.execution.work import TensorSpec
from .base import CUT_KINDS, Codec, Encoded, EncodedSpec, Keys, MessageContext
from .cast import saturate
from .estimate import Moments, estimator
from .public import Public

if TYPE_CHECKING:
    import torch

    from .turn import View
else:
    torch = lazy("torch")


@dataclass(frozen=True)
class Hashes:
    """Where each coordinate goes, and what each bucket gathers; ``k = y Z + z`` numbers the buckets."""

    cells: torch.Tensor  # [Y * D] bucket k of coordinate d in row y
    signs: torch.Tensor  # [Y, D, 1]
    sources: torch.Tensor  # [Y * D] coordinates, sorted by bucket
    source_signs: torch.Tensor  # [Y * D]
    starts: torch.Tensor  # [Y * Z] where each bucket begins in ``sources``

    @property
    def matrix(self) -> torch.Tensor:
        """S ``[Y * Z, D]``: the sketch as a linear map."""
        rows, width, _ = self.signs.shape
        dense = self.signs.new_zeros(len(self.starts), width)
        coordinates = torch.arange(width, device=dense.device).repeat(rows)
        return dense.index_put((self.cells, coordinates), self.signs.flatten(), accumulate=True)

    def to(self, device: torch.device) -> Hashes:
        """The same hashes on ``device``."""
        return Hashes(*(tensor.to(device) for tensor in vars(self).values()))


@lru_cache(maxsize=256)
def hashes(shared: int, width: int, rows: int, columns: int, even: bool = False) -> Hashes:
    """The hashes of a key: a pure function, remembered because both endpoints and all streams of a pair ask for it.

    ``even``: the buckets of a row gather equally many coordinates, to within one.
    """
    draw = Streams(shared).numpy("sketch", width, rows, columns)
    if even:
        turns = np.tile(np.arange(width) % columns, (rows, 1))
        buckets = torch.from_numpy(draw.permuted(turns, axis=1))
    else:
        buckets = torch.from_numpy(draw.integers(columns, size=(rows, width)))
    signs = torch.from_numpy(draw.integers(2, size=(rows, width))).float() * 2 - 1
    cells = (buckets + torch.arange(rows)[:, None] * columns).flatten()
    order = cells.argsort(stable=True)
    starts = torch.searchsorted(cells[order], torch.arange(rows * columns))
    return Hashes(cells, signs[..., None], order % width, signs.flatten()[order], starts)


@lru_cache(maxsize=16)
def _blind(shared: int, width: int, rows: int, columns: int) -> torch.Tensor:
    """The pseudo-inverse of a sketch, where nothing is known of what is sketched."""
    return estimator(hashes(shared, width, rows, columns, even=True).matrix, None)


def _median(slices: list[torch.Tensor]) -> torch.Tensor:
    """Elementwise median of ``slices``, which it overwrites.

    An odd-even transposition sort, because few slices of many elements are compared; one spare buffer, because large
    allocations cost more than the comparisons.
    """
    spare = torch.empty_like(slices[0])
    for turn in range(len(slices)):
        for i in range(turn % 2, len(slices) - 1, 2):
            low, high = slices[i], slices[i + 1]
            torch.minimum(low, high, out=spare)
            torch.maximum(low, high, out=high)
            slices[i], spare = spare, low
    middle = len(slices) // 2
    return slices[middle] if len(slices) % 2 else (slices[middle - 1] + slices[middle]) / 2


class Sketch(Codec):
    """Count sketch per token: rows x columns signed buckets instead of the vector (ELSA)."""

    kind: Literal["sketch"] = "sketch"
    rows: int = Field(3, ge=1, le=31)
    """Y: hash rows, each an independent estimate of every coordinate."""
    columns: int = Field(64, ge=1, le=2**20)
    """Z: buckets per row."""
    decoder: Literal["median", "mean", "shrink", "linear"] = "median"
    """How estimates of the rows combine: median (the paper's), mean (unbiased), shrink (least error of a multiple of it),
    linear (least squares with what public text tells; exact gradients)."""
    refresh_every: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Of ``linear``: rounds after which it is fitted to public text anew; without, the fit is that of the pretrained model."""

    _moments: Moments | None = PrivateAttr(default=None)
    _view: View | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.refresh_every is not None and self.decoder != "linear":
            raise ValueError("refresh_every has an effect with decoder: linear only")
        return self

    @property
    def in_graph(self) -> bool:  # type: ignore[override]
        return self.decoder == "linear"

    @property
    def uses_public(self) -> bool:
        return self.decoder == "linear"

    @property
    def fitted_anew(self) -> int | None:
        return self.refresh_every

    def at(self, context: MessageContext, public: Public | None) -> Codec | None:
        if public is None or not self.uses_public or context.cut is None:
            return self
        every, made = self.refresh_every, self.model_copy()
        round = 0 if every is None else (max(context.round, 1) - 1) // every * every
        made._moments = public.moments(context.layer, round)
        return made

    def behind(self, view: View, *, both: bool) -> Codec:
        if self._moments is None:
            return self
        made = self.model_copy()
        made._view = view
        return made

    def fit_error(self, width: int, keys: Keys) -> float | None:
        if self._moments is None:
            return None
        state = self.start(keys)
        return self._moments.expected_error((state, self.rows, self.columns), self._hashes(state, width).matrix)

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        if self.decoder == "linear":
            if message not in CUT_KINDS:
                return f"with decoder: linear estimates hidden states; {message} have none"
            if any(not codec.in_graph for codec in before):
                return f"with decoder: linear takes hidden states, not what {before[-1].kind!r} makes of them"
        return super().objection(before, spec, message)

    def ratio(self, width: int) -> float:
        """Compression ratio rho = D/(Y Z) for vectors of ``width`` D; below 1 the table is larger than the vector."""
        return width / (self.rows * self.columns)

    def start(self, keys: Keys) -> int:
        return keys.shared

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(TensorSpec((*spec.shape[:-1], self.rows * self.columns)))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        estimates = spec.numel * self.rows
        if self.decoder == "linear":
            ends = 2.0 * estimates, 2.0 * spec.numel * self.rows * self.columns
            return ends if context.kind == "activation" else ends[::-1]
        combine = estimates * (self.rows - 1) if self.decoder == "median" else estimates  # comparators or additions
        if self.decoder == "shrink":
            combine += 3 * spec.numel
        return 2.0 * estimates, float(estimates + combine)

    def encode(self, x: torch.Tensor, state: int, context: MessageContext) -> tuple[Encoded, Any]:
        width = x.shape[-1]
        shape = (*x.shape[:-1], self.rows * self.columns)
        if x.numel() == 0:  # embedding_bag refuses rows without elements
            return Encoded(x.new_zeros(shape, dtype=torch.float32)), state
        if self.decoder == "linear" and context.kind == "gradient":
            return Encoded((x.detach().float() @ self._fitted(state, width, x.device)[1]).reshape(shape)), state
        use = self._hashes(state, width).to(x.device)
        columns = x.detach().reshape(-1, width).float().t().contiguous()  # [D, n]: sums run over whole rows of it
        table = torch.nn.functional.embedding_bag(
            use.sources, columns, use.starts, mode="sum", per_sample_weights=use.source_signs
        )  # [Y * Z, n]
        return Encoded(table.t().reshape(shape)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: int, context: MessageContext) -> tuple[torch.Tensor, Any]:
        width = spec.shape[-1]
        if spec.numel == 0:
            return data.main.new_zeros(spec.shape, dtype=getattr(torch, spec.dtype)), state
        if self.decoder == "linear":
            return self._output(self._estimate(data.main.detach().float(), width, state, context), spec), state
        use = self._hashes(state, width).to(data.main.device)
        rows = data.main.detach().reshape(-1, self.rows * self.columns).float()  # [n, Y * Z]
        table = rows.t().contiguous()
        if self.decoder == "median":
            estimates = table.index_select(0, use.cells).view(self.rows, width, -1)  # [Y, D, n]
            return self._output(_median(list(estimates.mul_(use.signs).unbind())).t(), spec), state
        # the mean of Y estimates in one pass: every coordinate gathers its Y buckets
        cells = use.cells.view(self.rows, width).t().flatten()
        signs = use.signs.squeeze(-1).t().flatten() / self.rows
        starts = torch.arange(0, width * self.rows, self.rows, device=cells.device)
        sums = torch.nn.functional.embedding_bag(cells, table, starts, mode="sum", per_sample_weights=signs)  # [D, n]
        mean = sums.t().contiguous()
        if self.decoder == "shrink":
            mean *= self._factor(rows, mean)
        return self._output(mean, spec), state

    def _hashes(self, shared: int, width: int) -> Hashes:
        if self.decoder == "linear":
            return hashes(shared, width, self.rows, self.columns, even=True)
        return hashes(shared, width, self.rows, self.columns)

    def _output(self, value: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
        return saturate(value.reshape(spec.shape).contiguous(), spec.dtype)

    def _fitted(
        self, state: int, width: int, device: torch.device
    ) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        """Mean ``[D]``, if it is known, A ``[D, YZ]`` and S ``[YZ, D]``."""
        matrix = self._hashes(state, width).matrix
        if self._moments is None:
            return None, _blind(state, width, self.rows, self.columns).to(device, torch.float32), matrix.to(device)
        found = self._moments.estimate((state, self.rows, self.columns), matrix, self._view)
        return found.mean.to(device), found.matrix.to(device), matrix.to(device)

    def _estimate(self, table: torch.Tensor, width: int, state: int, context: MessageContext) -> torch.Tensor:
        """What the receiver makes of a table ``[..., YZ]``: hidden states, or gradients by the chain rule."""
        mean, estimator, matrix = self._fitted(state, width, table.device)
        if context.kind == "gradient":
            return table @ matrix
        if mean is None:
            return table @ estimator.t()
        return (table - matrix @ mean) @ estimator.t() + mean

    def _factor(self, table: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """<m, h> / ||m||^2 = (||t|| / ||m||)^2 / Y of every token, shape ``[n, 1]``; m = 0 only when t = 0."""
        of_table = torch.linalg.vector_norm(table, dim=1, keepdim=True, dtype=torch.float64)
        of_mean = torch.linalg.vector_norm(mean, dim=1, keepdim=True, dtype=torch.float64)
        factor = (of_table / of_mean).square() / self.rows
        return torch.where(of_table == 0, torch.zeros_like(factor), factor).float()
