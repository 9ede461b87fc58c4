"""Whether training did what it was for: facts for the summary, and a line for each way in which it silently failed.

A run that fails these is not a failed run: what it shows may be what a study looks for. It is only never silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..base.listing import listed
from .frames import Events, frame, number

#: A metric of evaluations with this ending is the relative error of a codec chain, of the messages it is named after.
ERROR = "_error"


def majority(labels: npt.NDArray[np.int64] | None) -> float | None:
    """The share of the most frequent class among test labels, which always answering it would reach as accuracy."""
    return None if labels is None or not len(labels) else float(np.bincount(labels).max() / len(labels))


def training_facts(
    events: Events, rounds: pd.DataFrame, trainers: Sequence[str], labels: npt.NDArray[np.int64] | None
) -> dict[str, Any]:
    """What tells whether training worked.

    ``loss_start`` is that of the evaluation before training (``None`` without one), ``loss_end`` that of the last,
    ``majority`` the share of the most frequent class in the test data, ``never_took_part`` the ``trainers`` (clients that
    are to train) of whom nothing counted, and ``codec_error`` the relative error ||received - sent|| / ||sent|| of each kind
    of message that passes codecs in an evaluation. ``None`` is what was not measured.
    """
    losses = rounds["loss"].dropna()
    before = rounds.loc[rounds["round"] == 0, "loss"].dropna()
    errors = [name for name in rounds.columns if name.endswith(ERROR)]
    return {
        "loss_start": number(before.iloc[0]) if len(before) else None,
        "loss_end": number(losses.iloc[-1]) if len(losses) else None,
        "majority": majority(labels) if len(losses) else None,
        "tested": 0 if labels is None else len(labels),
        "never_took_part": never_took_part(frame(events), trainers),
        "codec_error": {name.removesuffix(ERROR): number(rounds[name].iloc[-1]) for name in errors},
    }


def never_took_part(events: pd.DataFrame, trainers: Sequence[str]) -> list[str]:
    """The ``trainers`` that finished no work, or whose adapters never arrived where those of others did."""
    done = events[events["status"] == "ok"]
    worked = set(done.loc[done["kind"] == "compute", "node"].astype(str))
    sent = done[(done["kind"] == "transfer") & (done["detail"] == "adapters")]
    senders = set(sent["node"].astype(str)) & set(trainers)
    return [name for name in trainers if name not in worked or (senders and name not in senders)]


def warnings(summary: Mapping[str, Any]) -> Iterator[str]:
    """A line for each way in which training failed without failing the run, from a summary with its training facts."""
    facts = summary["training"]
    if not summary.get("rounds"):
        return
    accuracy, share = summary.get("accuracy"), facts["majority"]
    if accuracy is not None and share is not None:
        spread = math.sqrt(share * (1.0 - share) / facts["tested"])
        if accuracy <= share + spread:
            yield (
                f"accuracy {accuracy:.4f} is no better than always answering the most frequent class ({share:.4f}, "
                f"one standard error {spread:.4f})"
            )
    start, end = facts["loss_start"], facts["loss_end"]
    if start is not None and end is not None and end > start:
        yield f"test loss {end:.4g} is above that before training ({start:.4g})"
    if absent := facts["never_took_part"]:
        many = len(absent) > 1
        yield f"{len(absent)} clients never took part: {listed(absent)}" if many else f"{absent[0]} never took part"
    for kind, error in facts["codec_error"].items():
        if error is not None and error > 1.0:
            yield (
                f"the relative error of {kind} messages behind their codecs is {100 * error:.0f} %; that of sending zeros "
                "is 100 %"
            )
