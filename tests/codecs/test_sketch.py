"""The count sketch against its closed forms."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import pytest
import torch
from exchange import Pair, hidden, secrets, spec_of
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from elsa_sim.codecs.base import Keys, MessageContext
from elsa_sim.codecs.sketch import Sketch, hashes

CONTEXT = MessageContext("activation", True)


@cache
def estimates(decoder: str, seeds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A vector [D], and estimates of it under many keys, [seeds, D], from 3 rows of 6 columns."""
    codec, x, out = Sketch(rows=3, columns=6, decoder=decoder), hidden(rows=1, width=24)[0], []
    for seed in range(seeds):
        made, _ = codec.encode(x[None], seed, CONTEXT)
        out.append(codec.decode(made, spec_of(x[None]), seed, CONTEXT)[0][0])
    return x, torch.stack(out).double()


def error(codec: Sketch, x: torch.Tensor, keys: int = 20) -> float:
    """Relative squared error over rows and keys."""
    total = sum(float((Pair([codec], shared=key).send(x) - x).double().square().sum()) for key in range(keys))
    return total / keys / float(x.double().square().sum())


def test_table_is_the_definition() -> None:
    """Against the textbook loop, coordinate by coordinate."""
    codec, x = Sketch(rows=2, columns=5), hidden(rows=3, width=13)
    use = hashes(11, 13, 2, 5)
    table = torch.zeros(3, 10)
    for y in range(2):
        for d in range(13):
            table[:, use.cells[y * 13 + d]] += use.signs[y, d, 0] * x[:, d]
    assert set(use.signs.flatten().tolist()) == {-1.0, 1.0}
    assert (use.cells[:13] < 5).all()
    assert ((use.cells[13:] >= 5) & (use.cells[13:] < 10)).all()
    torch.testing.assert_close(codec.encode(x, 11, CONTEXT)[0].main, table)


@pytest.mark.parametrize("decoder", ["mean", "median"])
def test_unbiased(decoder: str) -> None:
    """The mean over keys is the vector, within five standard errors."""
    x, sample = estimates(decoder, 10_000)
    distance = (sample.mean(0) - x).abs() / (sample.std(0) / 100)
    assert distance.max() < 5


def test_variance_is_the_closed_form() -> None:
    """Var = sum of h_d'^2 over d' != d, over Y Z, for every coordinate, within 8 % (about 5 standard errors)."""
    x, sample = estimates("mean", 10_000)
    expected = (x.square().sum() - x.square()).double() / (3 * 6)
    assert ((sample.var(0) - expected) / expected).abs().max() < 0.08


def test_decoders_on_dense_rows_at_ratio_two() -> None:
    """shrink < no estimate < mean < median, and mean and shrink have the error that the docstring states.

    Many collisions per bucket look Gaussian, and of Gaussian numbers the mean is the better average.
    """
    x = torch.randn(200, 384, generator=torch.Generator().manual_seed(5))
    codecs = {name: Sketch(rows=3, columns=64, decoder=name) for name in ("median", "mean", "shrink")}
    assert codecs["mean"].ratio(384) == 2
    measured = {name: error(codec, x) for name, codec in codecs.items()}
    assert measured["mean"] == pytest.approx(383 / 192, rel=0.02)
    assert measured["shrink"] == pytest.approx(383 / (192 + 383), rel=0.02)
    assert measured["shrink"] < 0.7 < 1 < measured["mean"] < measured["median"]


@pytest.mark.parametrize(("rows", "columns"), [(1, 5), (3, 8), (4, 100)])
def test_shrink_has_the_least_error_row_by_row(rows: int, columns: int) -> None:
    """The factor is the least-squares one of each row, so no row has more error than no estimate at all."""
    x = hidden(rows=50)
    mean = Pair([Sketch(rows=rows, columns=columns, decoder="mean")]).send(x)
    best = (mean * x).sum(1, keepdim=True) / mean.square().sum(1, keepdim=True)
    shrunk = Pair([Sketch(rows=rows, columns=columns, decoder="shrink")]).send(x)
    torch.testing.assert_close(shrunk, best * mean, rtol=1e-4, atol=1e-4)
    assert ((shrunk - x).norm(dim=1) <= x.norm(dim=1) * (1 + 1e-6)).all()


def test_a_sparse_vector_is_recovered_by_the_median() -> None:
    x = torch.zeros(1, 384)
    x[0, [3, 77]] = torch.tensor([5.0, -2.0])
    y = Pair([Sketch(rows=7, columns=64)]).send(x)
    torch.testing.assert_close(y, x)


class Counted(TorchDispatchMode):
    """Counts the floating-point operations of what a codec does, by the tensors that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("minimum", "maximum", "mul", "mul_", "add", "div"):
            self.flops += result.numel()
        elif name.startswith("_embedding_bag"):  # weight [E, n] and indices: a product and a sum each
            self.flops += 2 * args[1].numel() * args[0].shape[1]
        elif name == "linalg_vector_norm":
            self.flops += 2 * args[0].numel()
        return result


@pytest.mark.parametrize("rows", [1, 3, 5])
@pytest.mark.parametrize("decoder", ["median", "mean"])
def test_flops_are_those_that_are_done(decoder: Literal["median", "mean"], rows: int) -> None:
    x = hidden(rows=6, width=20)
    codec = Sketch(rows=rows, columns=4, decoder=decoder)
    hashes(11, 20, rows, 4)  # drawn once, not for every message
    with Counted() as coded:
        made, _ = codec.encode(x, 11, CONTEXT)
    with Counted() as decoded:
        codec.decode(made, spec_of(x), 11, CONTEXT)
    signs = 20 * rows if decoder == "mean" else 0  # divided by Y, whatever the number of tokens
    assert codec.flops(spec_of(x), CONTEXT) == (coded.flops, decoded.flops - signs)


def test_flops_of_the_other_decoders_are_those_of_the_mean_and_a_little() -> None:
    """An even number of rows: the mean of the two in the middle is left out. The least-squares factor: two norms, a product."""
    x, costs = hidden(rows=6, width=20), {}
    for name, codec in {
        "mean": Sketch(rows=4, columns=4, decoder="mean"),
        "shrink": Sketch(rows=4, columns=4, decoder="shrink"),
        "median": Sketch(rows=4, columns=4),
    }.items():
        made, _ = codec.encode(x, 11, CONTEXT)
        with Counted() as decoded:
            codec.decode(made, spec_of(x), 11, CONTEXT)
        costs[name] = codec.flops(spec_of(x), CONTEXT)[1], decoded.flops
    assert costs["median"][1] - costs["median"][0] == 2 * x.numel()
    told, done = (costs["shrink"][i] - costs["mean"][i] for i in (0, 1))
    assert told == 3 * x.numel()
    assert done == pytest.approx(told, abs=3 * 6 * 16), "besides, something of the table"


@pytest.mark.parametrize("rows", range(1, 9))
def test_median_is_the_median(rows: int) -> None:
    x = hidden(rows=5)
    codec = Sketch(rows=rows, columns=9)
    use = hashes(11, 48, rows, 9)
    table = codec.encode(x, 11, CONTEXT)[0].main
    each = table[:, use.cells].view(5, rows, 48) * use.signs[..., 0]
    torch.testing.assert_close(Pair([codec]).send(x), each.quantile(0.5, dim=1))


def test_wide_tables_have_less_error() -> None:
    x = hidden()
    errors = [error(Sketch(rows=3, columns=columns), x) for columns in (8, 16, 64, 256)]
    assert errors == sorted(errors, reverse=True)
    assert Sketch(rows=3, columns=64).ratio(48) == 0.25


@pytest.mark.parametrize("decoder", ["median", "mean", "shrink"])
def test_empty_on_several_threads(decoder: Literal["median", "mean", "shrink"]) -> None:
    """Torch's gather refuses rows without elements, but only where it works on several threads."""
    torch.set_num_threads(2)
    assert Pair([Sketch(decoder=decoder)]).send(torch.zeros(0, 384)).shape == (0, 384)


def test_state_is_the_shared_key_only() -> None:
    assert Sketch().start(Keys(7, secrets(8))) == Sketch().start(Keys(7)) == 7


@pytest.mark.parametrize("options", [{"rows": 0}, {"columns": 0}, {"decoder": "best"}, {"rows": 3.5}, {"row": 3}])
def test_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sketch(**options)  # type: ignore[arg-type]
