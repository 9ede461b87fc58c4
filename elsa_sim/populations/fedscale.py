"""FedScale's traces of phones: what they compute and communicate, and when they are there.

``client_device_capacity`` and ``client_behave_trace`` of https://github.com/SymbioticLab/FedScale (benchmark/dataset/data/
device_info; Lai et al. 2022, arXiv 2105.11367) are pickled dictionaries of clients. They are read as they are, by an
unpickler that makes nothing but plain data, or as JSON of the same content. Clients are drawn with replacement, by
Elsa-sim's own streams: not the assignment of FedScale, which goes by the number of a client.

Tested in tests/populations/test_fedscale.py.
"""

from __future__ import annotations

import io
import json
import math
import pickle
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NoReturn, Self

from annotated_types import Gt, Le
from pydantic import Field, model_validator

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.files import sha256
from .distribution import Q
from .kinds import Clipped

MOST_BYTES = 256 * 2**20
MOST_FAULTS = 10
#: FedScale divides kibibits by "communication" to have seconds.
KIBIBIT = 1024.0


class _Plain(pickle.Unpickler):
    """Makes dictionaries, lists, numbers and texts; a pickle that asks for anything else could run code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"asks for {module}.{name}, and only plain data is read; write it as JSON")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("refers to something outside it")


def read_clients(context: Context, file: str, key: str, fault_of: Callable[[Any], str | None]) -> tuple[list[Any], str]:
    """The entries of a pickled, or JSON, dictionary of clients, in its order, and the digest of the file.

    Raises:
        InputFaults: it is no such file, holds nothing, or ``fault_of`` finds something wrong in an entry.
    """
    data = context.read(file, key, most=MOST_BYTES)
    try:
        made = json.loads(data) if data.lstrip()[:1] in (b"{", b"[") else _Plain(io.BytesIO(data)).load()
    except Exception as error:  # an unpickler of a file that is no pickle raises what it likes
        why = " ".join(str(error).split())[:200]
        raise InputFaults([Fault(key, f"{file} is neither JSON nor a pickle of plain data: {why}")]) from None
    if not isinstance(made, dict | list) or not made:
        raise InputFaults([Fault(key, f"{file} holds no clients: it must be a dictionary of them, as FedScale's are")])
    entries = list(made.values()) if isinstance(made, dict) else made
    names = [str(name)[:40] for name in made] if isinstance(made, dict) else [str(i) for i in range(len(made))]
    faults: list[Fault] = []
    for name, entry in zip(names, entries, strict=True):
        if (fault := fault_of(entry)) is not None:
            faults.append(Fault(key, f"{file}: client {name}: {fault}"))
        if len(faults) >= MOST_FAULTS:
            break
    if faults:
        raise InputFaults(faults)
    return entries, sha256(data)


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class FedScale(Clipped[Q], Generic[Q]):
    """The capacity of a phone of FedScale: a speed, or a bandwidth; those of one client are of one phone.

    A speed is ``flops`` over the entry's ``computation`` (ms for the inference of one sample), a bandwidth its
    ``communication`` (kibibit/s).
    """

    kind: Literal["fedscale"] = "fedscale"
    file: str = Field(description="Path of `client_device_capacity`, as FedScale pickles it or as JSON.")
    flops: Annotated[float, Gt(0.0), Le(1e18)] | None = Field(
        default=None,
        description="FLOPs of one inference of the model that the times of `computation` are of; of speeds only.",
    )
    _values: tuple[float, ...] = ()
    _digest: str = ""

    @model_validator(mode="after")
    def _of_speeds_and_bandwidths(self) -> Self:
        if self.values() is Any:
            return self
        if self.quantity() not in ("speed", "bandwidth"):
            raise ValueError("FedScale has speeds and bandwidths only")
        if (self.quantity() == "speed") != (self.flops is not None):
            raise ValueError("flops is needed for a speed" if self.flops is None else "flops is of speeds only")
        return self

    @property
    def shared(self) -> str | None:
        return f"row of {self._digest}"

    def loaded(self, context: Context, key: str) -> Self:
        entries, digest = read_clients(context, self.file, f"{key}.file", _capacity_fault)
        copy = self.model_copy()
        copy._values, copy._digest = tuple(self._value(entry) for entry in entries), digest
        return copy

    def _value(self, entry: Any) -> float:
        found = entry["communication"] * KIBIBIT if self.flops is None else self.flops / (entry["computation"] / 1e3)
        return float(self.clipped(found))

    def quantile(self, u: float) -> Any:
        """The value of the phone that the share ``u`` falls into, in the order of the file."""
        return self._values[int(u * len(self._values))]


def _capacity_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"expected computation and communication, got {str(entry)[:60]!r}"
    for name in ("computation", "communication"):
        if not is_number(entry.get(name)) or entry[name] <= 0:
            return f"{name} must be a number above 0, got {str(entry.get(name))[:60]!r}"
    return None
