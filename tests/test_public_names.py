"""The public names: one table, and what it says is there."""

import subprocess
import sys
import typing
from pathlib import Path

import elsa_sim

NAMES = {
    *("Codec", "LinkModel", "Partition", "Protocol", "Task", "TopologySource", "World", "Observer"),
    *("Divergence", "ElsaError", "InputError", "InvariantViolation", "RunFailed", "ScenarioError"),
    *("Results", "Scenario", "__version__", "check", "load_results", "load_scenario", "plots", "run"),
}


def test_the_table_is_what_users_rely_on() -> None:
    assert sorted(elsa_sim.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(elsa_sim, name) is not None
    assert dir(elsa_sim) == sorted(NAMES)


def test_type_checkers_see_the_same_names() -> None:
    source = (
        Path(elsa_sim.__file__).read_text(encoding="utf-8").split("if TYPE_CHECKING:")[1].split("#: Public name")[0]
    )
    shown = {line.rsplit(" as ", 1)[1] if " as " in line else line.split()[-1] for line in source.strip().splitlines()}
    assert shown | {"__version__"} == NAMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(elsa_sim, "nothing_of_the_kind")


def test_importing_the_package_is_light() -> None:
    code = "import sys, elsa_sim; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'pandas', 'simpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_observers_and_results_are_documented() -> None:
    for name in NAMES:
        item = getattr(elsa_sim, name)
        assert isinstance(item, str) or typing.cast(str, item.__doc__), name
