"""Work and the values it produces: what is computed, told apart from when it is computed.

A protocol never touches a tensor. It builds :class:`Work` (a pure function with its inputs, the shapes of its outputs
and its counted FLOPs), hands it to ``world.compute`` and gets :class:`Ref` handles back. Shapes are known before the
arithmetic runs, so durations and bytes are too: an executor may run the arithmetic at the end of the work's simulated
time, later together with other work, or, in a timing-only run, never.

Work is pure: it reads its inputs, which nobody changes, and returns new values. A piece of work therefore sees exactly
what was visible at its start, whenever its arithmetic runs.
"""

from __future__ import annotations

import typing
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @cached_property
    def nbytes(self) -> int:
        """Size of the dense buffer, in bytes."""
        return self.numel * ITEM_SIZE[self.dtype]

    @property
    def floating(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return "float" in self.dtype


class Local:
    """Spec of a value that stays in the process that made it, such as what a forward pass keeps for its backward pass."""


LOCAL = Local()
#: A tensor, a mapping of names to tensors (adapters), or ``None`` or ``LOCAL`` for a value that never crosses the wire.
Spec: TypeAlias = TensorSpec | Mapping[str, TensorSpec] | Local | None


class Kernel(ABC):
    """A pure function of which many calls can be computed as one; calls with equal :attr:`key` can.

    A piece of work whose function is not a kernel is computed on its own.
    """

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What calls must have in common to be computed as one."""

    @property
    @abstractmethod
    def footprint(self) -> float:
        """Bytes, about, that a call keeps until the work that follows from it is done."""

    @abstractmethod
    def __call__(self, *inputs: Any) -> Sequence[Any]:
        """One call: the reference."""

    @abstractmethod
    def together(self, calls: Sequence[tuple[Kernel, Sequence[Any]]]) -> list[Sequence[Any]]:
        """What each of the ``calls`` (kernels of this key, with their inputs) gives, up to float rounding."""


class Runner(typing.Protocol):
    """Whoever runs nodes."""

    def run(self, node: Node) -> None:
        """Run ``node`` and all that is pending for it."""

    def derive(self, function: Callable[..., Sequence[Any]], sources: Sequence[Ref], spec: Spec) -> Ref:
        """A handle on what ``function`` makes of handles, outside simulated time."""


#: The nodes that were computed as one, each with its number and its inputs.
Origin: TypeAlias = tuple[tuple[int, tuple[Any, ...]], ...]


class Node:
    """A pure function that has not run yet, with its inputs and the handles that wait for its outputs.

    A node is held by the handles of its outputs, not the other way round: what nobody can read any more is forgotten.
    """

    __slots__ = ("function", "inputs", "label", "local", "number", "outputs", "runner")

    def __init__(self, function: Callable[..., Sequence[Any]], inputs: Sequence[Any], runner: Runner) -> None:
        self.function: Callable[..., Sequence[Any]] | None = function
        self.inputs = tuple(inputs)
        self.runner = runner
        self.outputs: tuple[weakref.ref[Ref], ...] = ()
        self.local = False
        self.label = ""
        #: That of its first output, where handles are numbered; see :mod:`.journal`.
        self.number: int | None = None

    @classmethod
    def made(
        cls,
        function: Callable[..., Sequence[Any]],
        inputs: Sequence[Any],
        specs: Sequence[Spec],
        runner: Runner,
        label: str = "",
    ) -> tuple[Node, tuple[Ref, ...]]:
        """A node, and handles on what ``function(*inputs)`` will give; ``runner`` runs it when one is read."""
        node = cls(function, inputs, runner)
        node.label = label
        outputs = tuple(Ref(spec, node) for spec in specs)
        node.outputs = tuple(weakref.ref(ref) for ref in outputs)
        node.local = any(spec is LOCAL for spec in specs)
        return node, outputs

    def waits_for(self) -> list[Node]:
        """The nodes that must run before this one."""
        return [item.node for item in self.inputs if isinstance(item, Ref) and item.node is not None]

    def arguments(self) -> list[Any]:
        """The values of the inputs, which must be there."""
        return [item.value if isinstance(item, Ref) else item for item in self.inputs]

    def fulfil(self, values: Sequence[Any], origin: Origin | None = None) -> None:
        """Hand out what the function gave, and let go of its inputs; handles on local values keep their ``origin``."""
        if len(values) != len(self.outputs):
            raise ValueError(f"work gave {len(values)} values for its {len(self.outputs)} outputs")
        for output, value in zip(self.outputs, values, strict=True):
            ref = output()
            if ref is not None:
                ref.fulfil(value)
                ref.origin = origin if ref.spec is LOCAL else None
        self.forget()

    def forget(self) -> None:
        """Let go of everything: it need not run any more."""
        self.function, self.inputs, self.outputs = None, (), ()

    def run(self) -> None:
        """Run the function; all its inputs must be there."""
        assert self.function is not None
        self.fulfil(self.function(*self.arguments()), origin_of([self]))


def origin_of(nodes: Sequence[Node]) -> Origin | None:
    """Where local values come from that ``nodes`` make as one; ``None`` where handles have no numbers, or none is local."""
    if not any(node.local and node.number is not None for node in nodes):
        return None
    return tuple((node.number, node.inputs) for node in nodes if node.number is not None)


class Ref:
    """A handle on a value that exists in simulated time; its content is the executor's business."""

    __slots__ = ("__weakref__", "_ready", "_value", "node", "origin", "replaced", "runner", "spec")

    def __init__(self, spec: Spec, node: Node | None = None) -> None:
        self.spec = spec
        #: What must run to give the value; ``None`` when it is there, or when there will never be one.
        self.node = node
        #: Who runs what this handle comes from; ``None``: it is on a constant, or there is no arithmetic.
        self.runner: Runner | None = None if node is None else node.runner
        #: How to compute a value again that stays in its process; only where somebody may have to.
        self.origin: Origin | None = None
        #: Whether an optimizer step that has ended began from it; see :class:`elsa_sim.world.replica.Lineage`.
        self.replaced = False
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
            self.node.runner.run(self.node)
        if not self._ready:
            raise RuntimeError(
                "this value does not exist: the run does no arithmetic (timing only), or not here (what a resumed run plays "
                "again); ask for what is in values by World.read"
            )
        return self._value

    def pick(self, names: Iterable[str]) -> Ref:
        """A handle on the part of a mapping that has ``names``, e.g. the adapters of one part of the model."""
        whole = self.spec
        if not isinstance(whole, Mapping):
            raise TypeError("only a mapping of names to tensors can be picked from")
        spec = {name: whole[name] for name in names if name in whole}
        return _derived(Pick(tuple(spec)), [self], spec)

    @classmethod
    def merge(cls, parts: Sequence[Ref]) -> Ref:
        """A handle on the union of several mappings of disjoint names."""
        spec: dict[str, TensorSpec] = {}
        for part in parts:
            if not isinstance(part.spec, Mapping) or not spec.keys().isdisjoint(part.spec):
                raise TypeError("only mappings of disjoint names can be merged")
            spec.update(part.spec)
        return _derived(union, parts, spec)


@dataclass(frozen=True)
class Pick:
    """The part of a mapping that has some names."""

    names: tuple[str, ...]

    def __call__(self, value: Mapping[str, Any]) -> tuple[dict[str, Any]]:
        return ({name: value[name] for name in self.names},)


def union(*values: Mapping[str, Any]) -> tuple[dict[str, Any]]:
    """The union of mappings of disjoint names."""
    return ({name: item for value in values for name, item in value.items()},)


def _derived(function: Callable[..., Sequence[Any]], sources: Sequence[Ref], spec: Spec) -> Ref:
    for source in sources:
        if source.runner is None and not source.ready:
            return Ref(spec)  # timing only
    runner = next((source.runner for source in sources if source.runner is not None), None)
    if runner is not None:
        return runner.derive(function, sources, spec)
    (value,) = function(*[source.value for source in sources])
    return Ref.of(value, spec)


@dataclass(eq=False, slots=True)  # frozen in spirit: that would double the time it takes to make one
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
    trains: Ref | None = None
    """The adapters that this work replaces by others, if it is an optimizer step."""
