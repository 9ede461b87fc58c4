"""Values as forms and bytes: what is stored comes back equal, and nothing but what may be made is made."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elsa_sim.learning.execution.values import NotStorable, form_of, nbytes, padded, value_of
from elsa_sim.learning.training.optim import Moments


def there_and_back(value: Any) -> Any:
    leaves: list[Tensor] = []
    form = json.loads(json.dumps(form_of(value, leaves)))
    left = iter(leaves)

    def leaf(dtype: torch.dtype, shape: list[int]) -> Tensor:
        tensor = next(left)
        assert (tensor.dtype, list(tensor.shape)) == (dtype, shape)
        return tensor.clone(memory_format=torch.contiguous_format)

    return value_of(form, leaf)


@pytest.mark.parametrize("value", [None, True, 3, -0.0, 1e-300, float("inf"), "text", (), [], {}, (1, [2, "x"], {"a": None}),
                                   {(1, 2): 3.0, 4: "y"}])  # fmt: skip
def test_plain_values(value: Any) -> None:
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_not_a_number() -> None:
    assert np.isnan(there_and_back(float("nan")))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_tensors(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape).to(dtype)
    found = there_and_back({"a": (tensor, None)})["a"][0]
    assert found.dtype == dtype
    assert torch.equal(found, tensor)


def test_strides_are_those_of_the_original() -> None:
    tensor = torch.arange(6.0).reshape(2, 3).t()
    found = there_and_back(tensor)
    assert found.stride() == tensor.stride() == (1, 3)
    assert torch.equal(found, tensor)
    wide = torch.ones(1).expand(4)
    assert torch.equal(there_and_back(wide), wide)


def test_arrays_and_their_numbers() -> None:
    array = np.arange(4, dtype=np.int16).reshape(2, 2)
    found = there_and_back([array, np.float32(0.1), np.int64(7), np.bool_(True)])
    assert (found[0] == array).all()
    assert found[0].dtype == array.dtype
    assert [(type(each), each) for each in found[1:]] == [
        (np.float32, np.float32(0.1)), (np.int64, 7), (np.bool_, True)]  # fmt: skip


def test_dataclasses_of_the_package() -> None:
    moments = Moments(3, {"a": torch.ones(2)}, {"a": torch.zeros(2)})
    found = there_and_back(moments)
    assert isinstance(found, Moments)
    assert found.step == 3
    assert torch.equal(found.first["a"], moments.first["a"])


@dataclass(frozen=True)
class OfAPlugin:
    number: int


def test_dataclasses_of_a_module_that_was_imported() -> None:
    assert there_and_back(OfAPlugin(3)) == OfAPlugin(3)


@dataclass
class Counted:
    number: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.number += 1
        self.twice = 2 * self.number


def test_nothing_of_a_dataclass_is_called_when_it_comes_back() -> None:
    made = Counted(3)
    made.twice = 99
    found = there_and_back(made)
    assert (found.number, found.twice) == (4, 99)


def of_a_function() -> Any:
    @dataclass
    class Inner:
        number: int

    return Inner(3)


@pytest.mark.parametrize("value", [Counter("aab"), defaultdict(int), OrderedDict(a=1), of_a_function(), np.ones(2, ">f4"),
                                   torch.eye(2).to_sparse(), torch.ones(1, dtype=torch.complex64)])  # fmt: skip
def test_what_would_come_back_as_something_else_is_refused(value: Any) -> None:
    with pytest.raises(NotStorable):
        form_of(value, [])


@pytest.mark.parametrize("value", [object(), {1}, lambda: None, torch.nn.Linear(1, 1), np.array(["x"]), OfAPlugin])
def test_other_types_are_refused_by_name(value: Any) -> None:
    with pytest.raises(NotStorable, match=r"\w+\.\w+"):
        form_of([value], [])


@pytest.mark.parametrize("form", [["object", "os", "system", {}], ["object", "subprocess", "Popen", {"args": ["true"]}],
                                  ["object", "elsa_sim.base.files", "digest", {}], ["object", "nowhere", "X", {}],
                                  ["object", "elsa_sim.nowhere", "X", {}],
                                  ["call", "x"]])  # fmt: skip
def test_nothing_but_dataclasses_is_made_from_what_is_read(form: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        value_of(form, lambda dtype, shape: torch.zeros(0))


def test_sizes() -> None:
    assert nbytes(torch.float64, [2, 3]) == 48
    assert nbytes(torch.float32, []) == 4
    assert [padded(size) for size in (0, 1, 64, 65)] == [0, 64, 64, 128]
