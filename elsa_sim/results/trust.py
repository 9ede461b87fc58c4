"""Whom ELSA's trust catches: the scores of clients, judging by judging, and how well they part liars from the others."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pandas as pd

from .frames import Events, frame

#: Judge -> kind and detail of its rows.
JUDGES = {"answers": ("assignment", "probed"), "updates": ("update", "judged")}


def trust_scores(events: Events) -> pd.DataFrame:
    """One row per score that a client got: ``judge`` (answers, updates), ``round``, ``client``, ``score``, in their order.

    Empty where nobody judged, and in timing mode.
    """
    events = frame(events)
    found: list[tuple[str, int, str, float]] = []
    for judge, (kind, detail) in JUDGES.items():
        for row in events[(events["kind"] == kind) & (events["detail"] == detail)].itertuples():
            facts = json.loads(str(row.metrics)) if row.metrics else {}
            if judge == "answers":
                facts = {str(row.node): facts["trust"]} if "trust" in facts else {}
            found += [(judge, int(str(row.round)), client, float(score)) for client, score in facts.items()]
    return pd.DataFrame(found, columns=["judge", "round", "client", "score"])


def trust_auc(events: Events, unreliable: Collection[str]) -> dict[str, dict[int, float]]:
    """Judge -> round -> area under the ROC curve of honest against ``unreliable`` clients; 1: every liar is below the rest.

    A client counts with its first score of the round, so with what was known before anything of that round was aggregated.
    Rounds in which only one sort of clients was judged are left out.
    """
    from sklearn.metrics import roc_auc_score

    first = trust_scores(events).drop_duplicates(["judge", "round", "client"])
    found: dict[str, dict[int, float]] = {}
    for (judge, number), rows in first.groupby(["judge", "round"], sort=True):
        honest = ~rows["client"].isin(list(unreliable))
        if honest.nunique() == 2:
            found.setdefault(str(judge), {})[int(str(number))] = float(roc_auc_score(honest, rows["score"]))
    return found


def summary(events: Events, unreliable: Collection[str]) -> dict[str, Any]:
    """What ``summary.json`` tells of trust: the areas under the curve; empty if nobody misbehaves, or nobody judged."""
    found = trust_auc(events, unreliable) if unreliable else {}
    told = {judge: {str(number): area for number, area in areas.items()} for judge, areas in found.items()}
    return {"trust": {"auc": told}} if told else {}
