"""What is left of the problem for one uplink once cut and rank are chosen: the two have subcarriers of their own, so
each is a problem for itself,

    minimise  sum_j w_j max_k (before_jk + need_k / R_k)

over subchannels and powers, with one maximum, or two: without a barrier, the first step of a round begins with the
broadcast and the others with the gradient. What stands between the two uplinks is a constant.

Tested in tests/joint/test_exhaustive.py.
"""

from __future__ import annotations

import numpy as np

from ..wireless.uplink import UplinkSubproblem
from .problem import Load, Problem


def subproblems(problem: Problem, load: Load) -> tuple[UplinkSubproblem, UplinkSubproblem, float]:
    """The main and the federated uplink under this load, and what else a round takes (s)."""
    begin, back = load.forward + problem.main.waits, load.gradient + load.backward
    server = load.server_forward + load.server_backward
    steps = problem.steps
    if problem.barrier:
        before, weights = begin[None], np.array([float(steps)])
        ahead = problem.fed_server.waits
        rest = float(load.broadcast.max()) + steps * (server + float(back.max())) + load.aggregate
    else:
        before = np.stack([load.broadcast + begin, back + begin][: 1 if steps == 1 else 2])
        weights = np.array([1.0, steps - 1.0][: len(before)])
        ahead = back + problem.fed_server.waits
        rest = steps * server + load.aggregate
    main = problem.main.demand(load.activation, np.asarray(weights @ before / weights.sum()))
    fed_server = problem.fed_server.demand(load.adapters, ahead)
    return (UplinkSubproblem(main, before, weights, "the main uplink", problem.names),
            UplinkSubproblem(fed_server, ahead[None], np.ones(1), "the federated uplink", problem.names), rest)  # fmt: skip
