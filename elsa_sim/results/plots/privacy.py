"""What protection costs: accuracy over bytes over recovered tokens.

Tested in tests/results/plots/test_plots.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ...base.errors import InputError
from .. import metrics as table
from ..differences import other_task
from ..labels import run_names
from ..metrics import Results
from .base import Figure
from .style import CYCLE, INK, MARKERS, Runs, amount, axes, finish, scaled, several, styled

#: Kinds of messages that codecs of hidden states work on.
CUT = ("activation", "gradient")
#: Characters of a line of a legend, and of a label beside the axes.
WIDTH, LABEL = 78, 46

#: Columns of attacks in a run's privacy table, as they are called in figures.
ATTACKS = {"nearest_mean": "nearest class mean", "complement": "nearest mean in the complement",
           "discriminant": "linear discriminant", "procrustes": "Procrustes, then discriminant",
           "inversion": "trained inversion"}  # fmt: skip
#: Its columns that are none; all others are attacks of plugins.
_NO_ATTACK = {"chain", "attacker", "codecs", "bytes_per_token", "rouge_l", "cosine", "mse", "tokens", "recovered",
              "unaided", "of_clean"}  # fmt: skip
#: Attackers, as they are called in figures; the edge server, where there is no other.
ATTACKERS = {"edge": "", "wire": "; listener on the wire", "colluder": "; edge server with the keys of another client"}


@styled
def tokens_recovered(run: Results, ax: Axes | None = None) -> Axes:
    """Share of private tokens (%) that each attack recovers, for every codec chain and attacker of a run."""
    if run.privacy is None:
        raise InputError("there is nothing to draw: the run has no privacy section")
    rows = run.privacy
    from_wire = set(rows.loc[rows["attacker"] == "wire", "chain"])
    columns = (rows[name] for name in ("chain", "codecs", "bytes_per_token", "attacker"))
    whom = ["; edge server, which has the key" if attacker == "edge" and chain in from_wire
            else ATTACKERS.get(attacker, "") for chain, attacker in zip(rows["chain"], rows["attacker"], strict=True)]  # fmt: skip
    labels = [
        fill(("own: " if chain == "own" else "") + str(codecs), LABEL)
        + "\n" + fill(f"{amount(size)} B per token{by}", LABEL)
        for (chain, codecs, size, _), by in zip(zip(*columns, strict=True), whom, strict=True)
    ]  # fmt: skip
    ax = axes(ax, 7.2, 0.9 + 0.13 * sum(2 + label.count("\n") for label in labels))
    ax.hlines(range(len(rows)), 0, 100.0 * rows["recovered"], color="#dddddd", linewidth=3.0, zorder=1)
    others = [str(column) for column in rows.columns if column not in ATTACKS and column not in _NO_ATTACK]
    for i, attack in enumerate([*ATTACKS, *others]):
        if attack in rows and rows[attack].notna().any():
            name, look = ATTACKS.get(attack, attack.replace("_", " ")), i % len(MARKERS)
            ax.scatter(100.0 * rows[attack], range(len(rows)), marker=MARKERS[look], s=24, color=CYCLE[look],
                       edgecolors="white", linewidths=0.4, label=name, zorder=3)  # fmt: skip
    ax.set_yticks(range(len(rows)), labels)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 101)
    ax.set_xlabel("Private tokens recovered (%)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return finish(ax, "x")


def audited(run: Results) -> bool:
    """Whether a run has an accuracy, and what an attacker recovers under its own codecs."""
    own = run.privacy is not None and (run.privacy["chain"] == "own").any()
    return bool(own and run.summary.get("accuracy") is not None)


@styled
def privacy_trade_off(results: Runs, ax: Axes | None = None) -> Axes:
    """A mark per run: accuracy as deployed over the bytes of activations and gradients; colour is the share of private
    tokens that the best attack recovers under the run's codecs, against that on clean states (100 %)."""
    runs = [run for run in several(results) if audited(run)]
    if (why := other_task(runs)) is not None:
        raise InputError(f"the runs' accuracies are on no common axis: {why}")
    if not runs:
        raise InputError("there is nothing to draw: no run has both an accuracy and a privacy section")
    sent = np.array([sum(table.bytes_by_kind(run.events).get(kind, 0) for kind in CUT) for run in runs], dtype=float)
    accuracy = np.array([run.summary["accuracy"] for run in runs])
    own = [run.privacy.loc[run.privacy["chain"] == "own"].iloc[0] for run in runs if run.privacy is not None]
    recovered = np.array([100.0 * row["of_clean"] for row in own])
    factor, unit = scaled(float(sent.max()), "B")
    ax = axes(ax, 6.4, 3.4)
    shade = Normalize(0.0, 100.0)
    handles = []
    for i, (name, row) in enumerate(zip(run_names(runs), own, strict=True)):
        marker = MARKERS[i % len(MARKERS)]
        drawn = ax.scatter(sent[i] / factor, accuracy[i], c=[recovered[i]], norm=shade, cmap="viridis", marker=marker,
                           s=58, edgecolors=INK, linewidths=0.6, zorder=3)  # fmt: skip
        ax.annotate(f"{recovered[i]:.0f} %", (sent[i] / factor, accuracy[i]), xytext=(6, 4), textcoords="offset points",
                    fontsize=6.5, zorder=4)  # fmt: skip
        ratio = f", {amount(sent.max() / sent[i])} × fewer bytes" if sent[i] < sent.max() else ""
        label = fill(f"{name}: {row['codecs']}{ratio}", WIDTH, subsequent_indent="   ")  # else it takes the axes' place
        handles.append(Line2D([], [], linestyle="", marker=marker, color="#bbbbbb", markeredgecolor=INK,
                              markeredgewidth=0.6, label=label))  # fmt: skip
    if sent.min() > 0 and sent.max() / sent.min() > 3:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:,g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(0.12)
    ax.set_xlabel(f"Activations and gradients sent ({unit})")
    ax.set_ylabel("Test accuracy")
    assert ax.figure is not None
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, aspect=18, pad=0.02)
    bar.set_label("Tokens recovered by the best attack\n(% of those recovered from clean states)", fontsize=7)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, width=0.6, length=2.5)
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=1, borderaxespad=0.2)
    return finish(ax, "both")


class TokensRecovered(Figure):
    """Private tokens that each attack recovers, per codec chain."""

    kind: Literal["tokens_recovered"] = "tokens_recovered"
    shows = "one"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether codec chains were attacked."""
        return runs[0].privacy is not None

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`tokens_recovered`."""
        return tokens_recovered(runs[0], ax)


class PrivacyTradeOff(Figure):
    """Accuracy over bytes over recovered tokens, a mark per run."""

    kind: Literal["privacy_trade_off"] = "privacy_trade_off"
    shows = "several"

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether at least two runs have an accuracy, on a common axis, and were attacked."""
        shown = [run for run in runs if audited(run)]
        return len(shown) > 1 and other_task(shown) is None

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """See :func:`privacy_trade_off`."""
        return privacy_trade_off(runs, ax)
