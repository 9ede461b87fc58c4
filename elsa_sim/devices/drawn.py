"""The devices of a scenario, node by node: files read, distributions drawn, single nodes changed.

Tested in tests/devices/test_options.py and tests/devices/test_drawn.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..populations import Drawer, distributions, is_distribution, loaded, place
from ..topology import Topology
from .options import OF_PROFILE, DeviceOptions, merged
from .speed import NumberType

if TYPE_CHECKING:
    from .options import DevicesOptions


def devices_of(
    options: DevicesOptions, topology: Topology, context: Context | None, numbers: NumberType
) -> dict[str, DeviceOptions]:
    """Node name -> its options; see :meth:`.options.DevicesOptions.of`."""
    making = _Making(context, numbers)
    roles: dict[str, DeviceOptions] = {"client": options.client, "edge": options.edge, "cloud": options.cloud}
    given = {name: (role, roles[role]) for role in ("cloud", "edge", "client") for name in topology.names(role)}
    for name, changes in options.overrides.items():
        where = f"overrides.{name}"
        if name not in given:
            near = difflib.get_close_matches(name, given, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; nodes that compute: {', '.join([*given][:5])}, ..."
            making.faults.append(Fault(where, f"there is no node {name!r}{hint}"))
            continue
        base = roles[topology.role(name)]
        before = base.model_dump(exclude_unset=True)
        if "profile" in changes:  # a profile of one's own goes before what the role says
            before = {key: value for key, value in before.items() if key not in OF_PROFILE}
        try:
            given[name] = (where, type(base).model_validate(merged(before, changes)))
        except ValidationError as error:
            making.faults += [Fault(".".join([where, *place(e["loc"])]), e["msg"]) for e in error.errors()]
    for key, each in [*roles.items(), *given.values()]:  # what nobody has can be wrong, too
        making.prepared(each, key)
    found = {} if making.faults else {name: making.device(name, *each) for name, each in given.items()}
    if faults := [*making.faults, *(making.drawer.faults() if making.drawer else ())]:
        raise InputFaults(list(_once(faults, roles)))
    return found


def _once(faults: list[Fault], roles: Mapping[str, DeviceOptions]) -> Iterator[Fault]:
    """Faults of roles, and of single nodes those that are not of their role."""
    told: set[tuple[str, str]] = set()
    for fault in dict.fromkeys(faults):
        own = next((key for key in roles if fault.path.startswith(f"{key}.")), None)
        within = fault.path.split(".", 1 if own else 2)[-1]
        if own or (within, fault.message) not in told:
            yield fault
        told.add((within, fault.message))


@dataclass
class _Making:
    context: Context | None
    numbers: NumberType
    faults: list[Fault] = field(default_factory=list)
    _prepared: dict[tuple[int, str | None], tuple[DeviceOptions, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.drawer = None if self.context is None else Drawer(self.context.streams)

    def device(self, name: str, key: str, options: DeviceOptions) -> DeviceOptions:
        """The options of node ``name``, which are ``options`` at ``key``, drawn."""
        ready, differs = self.prepared(options, key)
        if not differs:
            return ready
        if self.drawer is None:
            raise ValueError("distributions are drawn from the streams of a context")
        drawn: Any = ready.profile
        if is_distribution(drawn):
            profile = self.drawer.value(drawn, name, "devices.profile", f"{key}.profile")
            ready, _ = self.prepared(options, key, profile)
        return self.drawer.of(ready, name, "devices", key)

    def prepared(self, options: DeviceOptions, key: str, profile: str | None = None) -> tuple[DeviceOptions, bool]:
        """``options`` with their files read, of a drawn ``profile`` if there is one, and whether something is to be drawn."""
        made = self._prepared.get((id(options), profile))
        if made is None:
            made = self._prepared[(id(options), profile)] = self._make(options, key, profile)
        return made

    def _make(self, options: DeviceOptions, key: str, profile: str | None) -> tuple[DeviceOptions, bool]:
        of_profile = is_distribution(options.profile)
        if of_profile and profile is not None:
            given = options.model_dump(exclude_unset=True) | {"profile": profile}
            options, of_profile = type(options).model_validate(given), False
        if not of_profile:
            try:
                options = options.computing_in(self.numbers)
            except ValueError as error:
                of = f"profile {options.profile!r}: " if options.profile else ""
                self.faults.append(Fault(f"{key}.speed", f"{of}{error}; state speed: {{{self.numbers}: ...}}"))
        if self.context is None:
            return options, any(distributions(options))
        away = []
        for i, downtime in enumerate(options.downtimes):
            try:
                away.append(downtime.loaded(self.context, f"{key}.downtimes.{i}"))
            except InputFaults as error:
                self.faults += error.faults
        if away:
            options = options.model_copy(update={"downtimes": tuple(away)})
        options = loaded(options, self.context, key, self.faults)
        return options, any(True for _ in distributions(options))
