"""What is wrong with the codec chains of a scenario, and with those that it attacks.

Tested in tests/run/test_builder.py, tests/codecs/test_chains.py and tests/privacy/test_audit.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import Fault
from ..codecs.base import CUT_KINDS, Codec
from ..codecs.chain import coupled, faults, too_wide
from ..codecs.ssop import SSOP
from ..learning.splits.fixed import FixedSplit
from ..privacy.options import PrivacyOptions
from ..scenario.model import Scenario


def of_privacy(scenario: Scenario, options: PrivacyOptions) -> list[Fault]:
    """Faults of the ``privacy`` section."""
    found = []
    if not scenario.protocol.pattern.split:
        what = f"it attacks what crosses a cut, and protocol {scenario.protocol.kind!r} does not cut the model"
        found.append(Fault("", f"{what}; leave the section out"))
    if scenario.execution.mode == "timing":
        found.append(Fault("", "it needs arithmetic; valid with execution.mode: real only"))
    if not scenario.task.public:
        found.append(Fault("", "attackers learn from public text, and there is none; set task.public, e.g. to 300"))
    for number, chain in enumerate(options.under):
        for position, reason in faults(chain, "activation"):
            found.append(Fault(f"under.{number}.{position}", reason))
        for position, codec in enumerate(chain):
            if isinstance(codec, SSOP) and codec.unread:
                what = "unread is about the model that was trained, which is the same under every chain; leave it out"
                found.append(Fault(f"under.{number}.{position}.unread", what))
    return found


def of_chains(scenario: Scenario) -> list[Fault]:
    """Faults of the ``codec`` section."""
    chains, found = scenario.codec.chains, []
    for message, chain in chains.items():
        for position, reason in faults(chain, message, chains["activation"]):
            found.append(Fault(f"{message}.{position}", reason))
        for position, codec in enumerate(chain):
            if codec.needs_public and not scenario.task.public:
                what = f"{codec.kind!r} is fitted to public text, and there is none; set task.public, e.g. to 300"
                found.append(Fault(f"{message}.{position}", what))
            if scenario.execution.mode == "timing" and codec.data_dependent:
                what = f"{codec.data_dependent}; valid with execution.mode: real only"
                found.append(Fault(f"{message}.{position}", what))
            if message == "activation" and isinstance(codec, SSOP) and codec.unread:
                found.extend(Fault(f"{message}.{position}.unread", what) for what in _unread(scenario))
            if not codec.needs_public and codec.fitted_anew is not None and not scenario.task.public:
                what = f"refresh_every fits {codec.kind!r} to public text anew, and there is none; set task.public, or leave it out"
                found.append(Fault(f"{message}.{position}.refresh_every", what))
    joined = coupled(chains)["gradient"]
    if not found and joined != chains["gradient"]:
        offset = len(joined) - len(chains["gradient"])
        for position, reason in faults(joined, "gradient", chains["activation"]):
            found.append(Fault(f"gradient.{max(0, position - offset)}", reason))
    return found


def of_widths(scenario: Scenario, width: int) -> list[tuple[str, Fault]]:
    """Section -> a fault of an option that states of ``width`` D have no room for."""
    chains: list[tuple[str, str, Sequence[Codec]]] = [
        ("codec", kind, chain) for kind, chain in scenario.codec.chains.items() if kind in CUT_KINDS
    ]
    if scenario.privacy is not None:
        chains += [("privacy", f"under.{number}", chain) for number, chain in enumerate(scenario.privacy.under)]
    return [
        (section, Fault(f"{path}.{position}", reason))
        for section, path, chain in chains
        for position, reason in too_wide(chain, width)
    ]


def _unread(scenario: Scenario) -> list[str]:
    """Why no part of the model can leave a subspace unread."""
    if not isinstance(scenario.split, FixedSplit):
        return [f"is about one subspace at one cut for all clients; needs split: fixed, got {scenario.split.kind}"]
    if not scenario.protocol.pattern.split:
        return [f"protocol {scenario.protocol.kind!r} does not cut the model"]
    return []
