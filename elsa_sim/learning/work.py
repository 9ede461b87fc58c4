"""Work and the values it produces: what is computed, told apart from when it is computed.

A protocol never touches a tensor. It builds :class:`Work` (a pure function with its inputs, the shapes of its outputs
and its counted FLOPs), hands it to ``world.compute`` and gets :class:`Ref` handles back. Shapes are known before the
arithmetic runs, so durations and bytes are too: an executor may run the arithmetic at the end of the work's simulated
time, later together with other work, or, in a timing-only run, never.

Work is pure: it reads its inputs, which nobody changes, and returns new values. A piece of work therefore sees exactly
what was visible at its start, whenever its arithmetic runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

ITEM_SIZE = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1}


@dataclass(frozen=True)
class TensorSpec:
    """Shape and dtype of a tensor that need not exist."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        """Size of the dense buffer, in bytes."""
        return self.numel * ITEM_SIZE[self.dtype]

    @property
    def floating(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return "float" in self.dtype


#: A tensor, a mapping of names to tensors (adapters), or ``None`` for a value that never crosses the wire.
Spec: TypeAlias = TensorSpec | Mapping[str, TensorSpec] | None


class Ref:
    """A handle on a value that exists in simulated time; its content is the executor's business."""

    __slots__ = ("_compute", "_ready", "_value", "spec")

    def __init__(self, spec: Spec, compute: Callable[[], Any] | None = None) -> None:
        self.spec = spec
        self._compute = compute
        self._value: Any = None
        self._ready = False

    @classmethod
    def of(cls, value: Any, spec: Spec) -> Ref:
        """A handle on a value that is there already."""
        ref = cls(spec)
        ref.fulfil(value)
        return ref

    def fulfil(self, value: Any) -> None:
        """Give the handle its value."""
        self._value, self._ready, self._compute = value, True, None

    @property
    def ready(self) -> bool:
        """Whether the value is there."""
        return self._ready

    @property
    def value(self) -> Any:
        """The value; runs whatever is still pending for it.

        Raises:
            RuntimeError: the run is timing-only, so no value exists.
        """
        if not self._ready:
            if self._compute is None:
                raise RuntimeError("this value does not exist: the run does no arithmetic (timing only)")
            self.fulfil(self._compute())
        return self._value

    def pick(self, names: Iterable[str]) -> Ref:
        """A handle on the part of a mapping that has ``names``, e.g. the adapters of one part of the model."""
        if not isinstance(self.spec, Mapping):
            raise TypeError("only a mapping of names to tensors can be picked from")
        wanted = [name for name in names if name in self.spec]
        return Ref({name: self.spec[name] for name in wanted}, lambda: {name: self.value[name] for name in wanted})

    @classmethod
    def merge(cls, parts: Sequence[Ref]) -> Ref:
        """A handle on the union of several mappings of disjoint names."""
        spec: dict[str, TensorSpec] = {}
        for part in parts:
            if not isinstance(part.spec, Mapping) or not spec.keys().isdisjoint(part.spec):
                raise TypeError("only mappings of disjoint names can be merged")
            spec.update(part.spec)
        return cls(spec, lambda: {name: tensor for part in parts for name, tensor in part.value.items()})


@dataclass(frozen=True, eq=False)
class Work:
    """A pure function to run on some device.

    ``function(*inputs)`` returns one value per entry of ``outputs``; inputs that are :class:`Ref` arrive as their
    values. ``flops`` is the counted number of floating-point operations. ``label`` names the work in the event table.
    """

    label: str
    function: Callable[..., Sequence[Any]]
    inputs: tuple[Any, ...]
    outputs: tuple[Spec, ...]
    flops: float = 0.0


def run(work: Work) -> Sequence[Any]:
    """Run the arithmetic of ``work`` now."""
    return work.function(*[item.value if isinstance(item, Ref) else item for item in work.inputs])


def nbytes(spec: Spec) -> int:
    """Bytes of the dense buffers of a value."""
    if spec is None:
        raise TypeError("an opaque value has no size on the wire")
    if isinstance(spec, TensorSpec):
        return spec.nbytes
    return sum(item.nbytes for item in spec.values())
