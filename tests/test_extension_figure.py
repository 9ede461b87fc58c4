"""A figure as a plugin: one file outside the package, drawn by ``elsa-sim run`` and ``elsa-sim plot`` like any other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_runs import TEXT

from elsa_sim.cli import main
from elsa_sim.results.plots.base import Figure

FIGURE = '''
"""How long messages are on their way."""

from __future__ import annotations

from typing import Literal

from elsa_sim.plugins import Figure, axes, finish, run_labels


class Delays(Figure):
    """How long messages of each kind are on their way (s)."""

    kind: Literal["delays"] = "delays"

    def applies(self, runs):
        return all((run.events["kind"] == "transfer").any() for run in runs)

    def draw(self, runs, ax=None):
        ax = axes(ax, 4.2, 2.7)
        for run, label in zip(runs, run_labels(runs)):
            sent = run.events[run.events["kind"] == "transfer"]
            mean = (sent["t_end_s"] - sent["t_start_s"]).groupby(sent["detail"].astype(str)).mean()
            ax.plot(range(len(mean)), mean, "o", label=label)
            ax.set_xticks(range(len(mean)), list(mean.index))
        ax.set_ylabel("Mean time on the way (s)")
        ax.legend()
        return finish(ax, "y")
'''
Command = Callable[..., str]


@pytest.fixture(scope="module")
def elsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Runs ``elsa-sim`` in a folder with the plugin and a scenario; afterwards the plugin is forgotten."""
    place, before = tmp_path_factory.mktemp("figure"), dict(Figure.members)
    (place / "delays_plugin.py").write_text(FIGURE.lstrip(), encoding="utf-8")
    (place / "small.yaml").write_text(TEXT, encoding="utf-8")

    def call(*args: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            patch.setattr(sys, "argv", ["elsa-sim", *args])
            patch.setattr(sys, "path", [*sys.path])
            with pytest.raises(SystemExit) as end:
                main()
        assert end.value.code in (0, None)

    call("run", "small.yaml", "--out", str(place / "run"), "--quiet", "--plugin", "delays_plugin", "--set",
         "execution.mode=timing")  # fmt: skip
    yield lambda *args: call(*args) or str(place)
    Figure.members.clear()
    Figure.members.update(before)
    sys.modules.pop("delays_plugin", None)


def test_a_run_draws_it(elsa: Command) -> None:
    folder = Path(elsa("list", "figure")) / "run" / "figures"
    assert (folder / "delays.png").stat().st_size > 1000
    assert (folder / "delays.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "timeline.png").exists()


def test_it_is_listed(elsa: Command, capsys: pytest.CaptureFixture[str]) -> None:
    elsa("list", "figure", "--plugin", "delays_plugin")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["figure", "delays"])
    assert line.split(maxsplit=2)[2].strip() == "How long messages of each kind are on their way (s)."


def test_plot_draws_it_for_one_run_and_for_runs_compared(elsa: Command, capsys: pytest.CaptureFixture[str]) -> None:
    for out, runs in (("one", ["run"]), ("two", ["run", "run"])):
        folder = Path(elsa("plot", *runs, "--plugin", "delays_plugin", "--out", out)) / out
        assert str(Path(out) / "delays.png") in capsys.readouterr().out
        assert (folder / "delays.png").stat().st_size > 1000
        assert (folder / "timeline.png").exists() == (out == "one")
