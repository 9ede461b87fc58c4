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

Our reading: buckets and signs are fully random (not pairwise independent) and derive from the shared key, D, Y and Z,
so only the table crosses, as float32. Gradients are coded like activations (straight-through): the codec is not part
of the forward computation's derivative.

Does not capture: heavy-hitter recovery, hashes renewed per message, least-squares decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..base.lazy import lazy
from ..base.streams import Streams
from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, EncodedSpec, Keys, MessageContext
from .cast import saturate

if TYPE_CHECKING:
    import torch
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

    def to(self, device: torch.device) -> Hashes:
        """The same hashes on ``device``."""
        return Hashes(*(tensor.to(device) for tensor in vars(self).values()))


@lru_cache(maxsize=256)
def hashes(shared: int, width: int, rows: int, columns: int) -> Hashes:
    """The hashes of a key: a pure function, remembered because both endpoints and all streams of a pair ask for it."""
    draw = Streams(shared).numpy("sketch", width, rows, columns)
    buckets = torch.from_numpy(draw.integers(columns, size=(rows, width)))
    signs = torch.from_numpy(draw.integers(2, size=(rows, width))).float() * 2 - 1
    cells = (buckets + torch.arange(rows)[:, None] * columns).flatten()
    order = cells.argsort(stable=True)
    starts = torch.searchsorted(cells[order], torch.arange(rows * columns))
    return Hashes(cells, signs[..., None], order % width, signs.flatten()[order], starts)


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
    decoder: Literal["median", "mean", "shrink"] = "median"
    """How estimates of the rows combine: median (the paper's), mean (unbiased), shrink (least error)."""

    def ratio(self, width: int) -> float:
        """Compression ratio rho = D/(Y Z) for vectors of ``width`` D; below 1 the table is larger than the vector."""
        return width / (self.rows * self.columns)

    def start(self, keys: Keys) -> int:
        return keys.shared

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(TensorSpec((*spec.shape[:-1], self.rows * self.columns)))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        estimates = spec.numel * self.rows
        combine = estimates * (self.rows - 1) if self.decoder == "median" else estimates  # comparators or additions
        if self.decoder == "shrink":
            combine += 3 * spec.numel
        return 2.0 * estimates, float(estimates + combine)

    def encode(self, x: torch.Tensor, state: int, context: MessageContext) -> tuple[Encoded, Any]:
        width = x.shape[-1]
        shape = (*x.shape[:-1], self.rows * self.columns)
        if x.numel() == 0:  # embedding_bag refuses rows without elements
            return Encoded(x.new_zeros(shape, dtype=torch.float32)), state
        use = hashes(state, width, self.rows, self.columns).to(x.device)
        columns = x.detach().reshape(-1, width).float().t().contiguous()  # [D, n]: sums run over whole rows of it
        table = torch.nn.functional.embedding_bag(
            use.sources, columns, use.starts, mode="sum", per_sample_weights=use.source_signs
        )  # [Y * Z, n]
        return Encoded(table.t().reshape(shape)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: int, context: MessageContext) -> tuple[torch.Tensor, Any]:
        width = spec.shape[-1]
        if spec.numel == 0:
            return data.main.new_zeros(spec.shape, dtype=getattr(torch, spec.dtype)), state
        use = hashes(state, width, self.rows, self.columns).to(data.main.device)
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

    def _output(self, value: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
        return saturate(value.reshape(spec.shape).contiguous(), spec.dtype)

    def _factor(self, table: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """<m, h> / ||m||^2 = (||t|| / ||m||)^2 / Y of every token, shape ``[n, 1]``; m = 0 only when t = 0."""
        of_table = torch.linalg.vector_norm(table, dim=1, keepdim=True, dtype=torch.float64)
        of_mean = torch.linalg.vector_norm(mean, dim=1, keepdim=True, dtype=torch.float64)
        factor = (of_table / of_mean).square() / self.rows
        return torch.where(of_table == 0, torch.zeros_like(factor), factor).float()
