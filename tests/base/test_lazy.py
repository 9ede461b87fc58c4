"""Modules imported at first use."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from elsa_sim.base.lazy import lazy


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_stand_in_imports_when_it_is_first_used() -> None:
    code = (
        "import sys\n"
        "from elsa_sim.base.lazy import lazy\n"
        "stand_in = lazy('colorsys')\n"
        "print('colorsys' in sys.modules, end=' ')\n"
        "value = stand_in.rgb_to_hsv(1, 0, 0)\n"
        "print('colorsys' in sys.modules, value)\n"
    )
    assert run(code) == "False True (0.0, 1.0, 1)"


def test_options_and_codecs_are_known_without_the_tensor_library() -> None:
    modules = ["base.registry", "codecs.base", "learning.backbone.options", "learning.execution.work", "world.world",
               "results.event_table", "scenario.model"]  # fmt: skip
    imports = "; ".join(f"import elsa_sim.{name}" for name in modules)
    discover = (
        "from elsa_sim.base.registry import discover; discover('elsa_sim.codecs'); discover('elsa_sim.learning.tasks')"
    )
    assert run(f"{imports}; {discover}; import sys; print('torch' in sys.modules, 'transformers' in sys.modules)") == (
        "False False"
    )


def test_a_stand_in_gives_what_the_module_gives() -> None:
    import json

    stand_in = lazy("json")
    assert stand_in.dumps is json.dumps
    assert stand_in.__name__ == "json"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = stand_in.nonsense
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = lazy("no_such_module").anything


def test_looking_at_a_stand_in_imports_nothing() -> None:
    stand_in = lazy("no_such_module")
    assert not hasattr(stand_in, "__path__")
    assert not hasattr(stand_in, "__wrapped__")
    assert "no_such_module" in repr(stand_in)
    assert inspect.getdoc(stand_in) is None or isinstance(inspect.getdoc(stand_in), str)
