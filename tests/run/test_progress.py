"""What a run shows while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import small_runs

import elsa_sim
from elsa_sim.run import progress
from elsa_sim.run.progress import Bar, Display, Lines, in_notebook, shown
from elsa_sim.world.progress import Observer

TIMING = ["execution.mode=timing", "protocol.rounds=1"]


class Notebook:
    """Stands for a notebook: keeps what its cell shows, and every change of it."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, str]] = []

    def display(self, content: Mapping[str, str], *, raw: bool, display_id: bool) -> Notebook:
        assert raw
        assert display_id
        self.seen.append(content)
        return self

    def update(self, content: Mapping[str, str], *, raw: bool) -> None:
        assert raw
        self.seen.append(content)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=made.display))
    return made


class Told(Observer):
    """Counts what it is told."""

    steps = evaluations = 0

    def progressed(self, now: float, done: int, total: int) -> None:
        self.steps += 1

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        self.evaluations += 1


def played(**how: Any) -> None:
    with small_runs.quick():
        elsa_sim.run(small_runs.loaded(*TIMING), **how)


def test_a_kernel_is_a_notebook_and_a_terminal_is_none(monkeypatch: pytest.MonkeyPatch, notebook: Notebook) -> None:
    assert in_notebook()
    for shell in (None, SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_a_notebook_shows_a_run_by_itself(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    played()
    assert notebook.seen[0]["text/plain"] == "small  loading"
    last = notebook.seen[-1]["text/plain"]
    assert last.startswith("small  100 %  simulated ")
    assert "round 1" in last
    assert "left" not in last  # no time of this machine stays in a notebook
    assert len(notebook.seen) < 10
    assert capsys.readouterr() == ("", "")


def test_it_shows_none_where_nobody_asks(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    played(progress=False)
    played(observer=(told := Told()))
    assert notebook.seen == []
    assert told.steps > 0
    played(observer=(told := Told()), progress=True)
    assert told.steps > 0
    assert told.evaluations > 0
    assert notebook.seen[-1]["text/plain"].startswith("small  100 %")
    assert capsys.readouterr() == ("", "")


def test_outside_a_notebook_a_run_is_silent_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: False)
    played()
    assert capsys.readouterr() == ("", "")
    played(progress=True)
    assert "round   1  simulated" in capsys.readouterr().err
    told = Told()
    with shown("a", told, True) as both:
        both.evaluated(1.0, 2, {"accuracy": 0.5})
    assert "accuracy 0.500" in capsys.readouterr().err
    assert told.evaluations == 1
    with shown("a", None, True) as lines:
        assert isinstance(lines, Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown("a", None, True) as bar:
        assert isinstance(bar, Bar)


def test_a_display_changes_now_and_then(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Display("<b>mine</b>") as view:
        for step in range(1, 1001):
            now = step * 0.01
            view.progressed(2.0 * step, step, 2000)
        assert 30 <= len(notebook.seen) <= 42
        view.evaluated(7.0, 3, {"accuracy": 0.75})
    assert "10 s left" in notebook.seen[-2]["text/plain"]
    assert notebook.seen[-1]["text/plain"].endswith("round 3  accuracy 0.750")
    assert "<b>mine" not in notebook.seen[-1]["text/html"]


def test_a_display_of_a_run_that_did_not_finish_says_so(notebook: Notebook) -> None:
    with Display("mine") as view:
        view.progressed(1.0, 1, 4)
        view.__exit__(RuntimeError, None, None)
        told = notebook.seen[-1]["text/plain"]
    assert "25 %" in told
    assert "did not finish" in told


@pytest.mark.processes
def test_a_real_kernel_shows_one_output_and_needs_no_widgets() -> None:
    import nbformat
    from nbclient import NotebookClient

    code = (
        "import sys\nsys.modules['ipywidgets'] = None\nimport elsa_sim\n"
        "elsa_sim.run({'protocol': {'kind': 'fedavg', 'rounds': 2}, 'execution': {'mode': 'timing'}})"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120).execute()
    outputs = [each for each in notebook.cells[0].outputs if "IProgress not found" not in each.get("text", "")]
    shown, result = outputs  # but for what another library says of missing widgets
    assert (shown.output_type, result.output_type) == ("display_data", "execute_result")
    assert shown.data["text/plain"].startswith("scenario  100 %  simulated ")
    assert result.data["text/plain"].startswith("Results of scenario: protocol fedavg, rounds 2")
    assert "<table>" in result.data["text/html"]
