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

ITEM_SIZE = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float64": 8,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
}


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


class Node:
    """A pure function that has not run yet, with its inputs and the handles that wait for its outputs."""

    __slots__ = ("function", "inputs", "outputs")

    def __init__(self, function: Callable[..., Sequence[Any]], inputs: Sequence[Any], specs: Sequence[Spec]) -> None:
        self.function: Callable[..., Sequence[Any]] | None = function
        self.inputs = tuple(inputs)
        self.outputs = tuple(Ref(spec, self) for spec in specs)

    def run(self) -> None:
        """Run what is pending for this node, depth first, then the node itself.

        Depth first, one chain of work is finished before the next begins, so that what a forward pass keeps for its
        backward pass exists for one chain at a time, however many are pending.
        """
        stack = [self]
        while stack:
            node = stack[-1]
            if node.function is None:
                stack.pop()
                continue
            waiting = [item.node for item in node.inputs if isinstance(item, Ref) and item.node is not None]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            values = node.function(*[item.value if isinstance(item, Ref) else item for item in node.inputs])
            if len(values) != len(node.outputs):
                raise ValueError(f"work gave {len(values)} values for its {len(node.outputs)} outputs")
            for ref, value in zip(node.outputs, values, strict=True):
                ref.fulfil(value)
            node.function, node.inputs, node.outputs = None, (), ()
            stack.pop()


class Ref:
    """A handle on a value that exists in simulated time; its content is the executor's business."""

    __slots__ = ("_ready", "_value", "node", "spec")

    def __init__(self, spec: Spec, node: Node | None = None) -> None:
        self.spec = spec
        #: What must run to give the value; ``None`` when it is there, or when there will never be one.
        self.node = node
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
        self._value, self._ready, self.node = value, True, None

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
        if self.node is not None:
            self.node.run()
        if not self._ready:
            raise RuntimeError("this value does not exist: the run does no arithmetic (timing only)")
        return self._value

    def pick(self, names: Iterable[str]) -> Ref:
        """A handle on the part of a mapping that has ``names``, e.g. the adapters of one part of the model."""
        if not isinstance(self.spec, Mapping):
            raise TypeError("only a mapping of names to tensors can be picked from")
        wanted = [name for name in names if name in self.spec]
        spec = {name: self.spec[name] for name in wanted}
        return _derived(lambda value: {name: value[name] for name in wanted}, [self], spec)

    @classmethod
    def merge(cls, parts: Sequence[Ref]) -> Ref:
        """A handle on the union of several mappings of disjoint names."""
        spec: dict[str, TensorSpec] = {}
        for part in parts:
            if not isinstance(part.spec, Mapping) or not spec.keys().isdisjoint(part.spec):
                raise TypeError("only mappings of disjoint names can be merged")
            spec.update(part.spec)
        return _derived(lambda *values: {n: t for value in values for n, t in value.items()}, parts, spec)


def _derived(function: Callable[..., Any], sources: Sequence[Ref], spec: Spec) -> Ref:
    if all(source.ready for source in sources):
        return Ref.of(function(*[source.value for source in sources]), spec)
    if not all(source.ready or source.node for source in sources):
        return Ref(spec)  # timing only
    return Node(lambda *values: (function(*values),), sources, (spec,)).outputs[0]


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
