"""Random joint problems, for tests: gains over distance and fading, costs that grow with cut and rank."""

from __future__ import annotations

import numpy as np

from elsa_sim.joint.problem import Load, Problem, Uplink


def problem(
    seed: int,
    clients: int = 3,
    subchannels: tuple[int, int] = (4, 3),
    cuts: int = 3,
    ranks: tuple[int, ...] = (2, 8),
    *,
    steps: int = 4,
    barrier: bool = True,
    total: float | None = 0.3,
    cap: float | None = None,
) -> Problem:
    """Clients 50 to 400 m away with Rayleigh fading, devices of 1 to 4 GFLOP/s-like speed, a decoder-like load."""
    random = np.random.default_rng(seed)

    def uplink(count: int) -> Uplink:
        loss = 30.0 + 37.0 * np.log10(random.uniform(50.0, 400.0, (clients, 1)))
        gain = 10.0 ** (-loss / 10.0) * random.standard_exponential((clients, count))
        return Uplink(
            gain, 1e6, 10.0**-19.7, random.uniform(0.05, 0.2, clients), total, cap, random.uniform(0, 0.02, clients)
        )

    main, fed_server = uplink(subchannels[0]), uplink(subchannels[1])
    slow, server = random.uniform(0.005, 0.06, clients), random.uniform(0.02, 0.3)
    loads = {}
    for cut in range(1, cuts + 1):
        for rank in ranks:
            work = cut * (1.0 + 0.01 * rank)
            left = (cuts + 1 - cut) * (1.0 + 0.01 * rank)
            loads[cut, rank] = Load(
                slow * work, np.full(clients, 4e6), server * left, 2.0 * server * left, np.full(clients, 0.05),
                2.0 * slow * work, np.full(clients, 1e6 * cut * rank), 0.01, random.uniform(0.01, 0.1, clients),
            )  # fmt: skip
    rounds = {rank: 20.0 + 40.0 / rank for rank in ranks}
    return Problem(tuple(f"client{k}" for k in range(clients)), main, fed_server, loads, steps, rounds, barrier)
