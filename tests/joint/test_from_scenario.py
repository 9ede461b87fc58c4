"""From scenarios to their joint problem: the delay in closed form is that of the simulated timeline."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from protocols.test_sflllm import TWO_SERVERS, two
from small_runs import loaded, played, transfers, work

from elsa_sim.base.errors import InputFaults
from elsa_sim.joint import Allocation, Decision, Problem, delay, optimise
from elsa_sim.joint.from_scenario import problem
from elsa_sim.run import checks
from elsa_sim.run.checks import Plan
from elsa_sim.run.cost_inputs import radio_of, set_demands

#: Texts of at least five tokens, all cut to five: every batch has one shape.
EVEN = ("task.max_length=5", "execution.mode=timing")
MORE = ("devices.client.launch=1 ms", "devices.cloud={launch: 2 ms, speed: 30 GFLOP/s}", "devices.edge.speed=5 GFLOP/s",
        "devices.overrides={client0: {speed: 1 GFLOP/s}, client1: {slowdown: 3}}")  # fmt: skip
DECODER = ("backbone={name: tiny-gpt2, config: {n_layer: 3, n_embd: 32, n_head: 2, n_inner: 48}}",
           "task.objective=causal_lm")  # fmt: skip


@cache
def plan_of(*changes: str) -> Plan:
    return checks.check(loaded(*changes))


def chosen_by_radio(plan: Plan, made: Problem, cut: int, rank: int) -> Decision:
    """What the scenario's own allocator and power control decide at time 0."""
    assert plan.layout is not None
    radio = radio_of(plan.scenario, plan.layout, plan.context.streams)
    set_demands(radio, plan.needs)
    found = []
    for station in ("cloud", "edge0"):
        radio.rate("client0", station)
        subcarriers = radio.subcarriers_of[station, "up"]
        owners = np.array([-1 if name is None else made.names.index(name) for name in subcarriers.owners])
        found.append(Allocation(owners, subcarriers.powers(radio.limits)))
    return Decision(cut, rank, *found)


def stated(made: Problem, decision: Decision) -> str:
    """A decision as a scenario's section."""
    said = {}
    for station, given in (("cloud", decision.main), ("edge0", decision.fed_server)):
        own = {name: np.flatnonzero(given.owners == k) for k, name in enumerate(made.names)}
        said[station] = {name: {"subchannels": mine.tolist(), "powers": given.power[mine].tolist()}
                         for name, mine in own.items()}  # fmt: skip
    return f"wireless.assigned={json.dumps(said)}"


@pytest.mark.parametrize("barrier", ["true", "false"])
@pytest.mark.parametrize("more", [(), DECODER, ("backbone.dtype=bfloat16",)], ids=["encoder", "decoder", "bfloat16"])
@pytest.mark.parametrize("allocation", ["equal", "greedy", "min_delay"])
def test_the_delay_is_that_of_the_timeline(barrier: str, more: tuple[str, ...], allocation: str) -> None:
    how = {"equal": (), "greedy": ("wireless.allocator=greedy",),
           "min_delay": ("wireless.allocator=greedy", "wireless.power_control=min_delay", "wireless.total_power=0.3")}  # fmt: skip
    changes = (*two(f"rounds: 2, local_steps: 3, barrier: {barrier}"), *EVEN, *MORE, *more, *how[allocation])
    plan = plan_of(*changes)
    made = problem(plan)
    rank = plan.scenario.backbone.lora.rank
    expected = 2 * delay(made, chosen_by_radio(plan, made, 1, rank)).round_s
    assert played(*changes).summary["sim_time_s"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("more", [(), DECODER], ids=["encoder", "decoder"])
def test_an_optimised_decision_is_played_as_promised(more: tuple[str, ...]) -> None:
    """Cut, rank, subchannels and powers of the optimiser, written into the scenario: the run takes its delay."""
    changes = (*two("rounds: 1, local_steps: 2"), *EVEN, *MORE, *more)
    made = problem(plan_of(*changes), ranks=(2, 4), rounds={2: 1.0, 4: 0.9})
    found = optimise(made)
    choice = found.decision
    now = (stated(made, choice), f"split={{policy: fixed, p: {choice.cut}}}", f"backbone.lora.rank={choice.rank}")
    run = played(*changes, *now)
    assert run.summary["sim_time_s"] == pytest.approx(found.breakdown.round_s, rel=1e-9)
    assert run.summary["sim_time_s"] < played(*changes).summary["sim_time_s"]


@pytest.mark.parametrize("more", [(), DECODER], ids=["encoder", "decoder"])
@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("cut", [1, 2])
def test_sizes_by_formula_are_those_of_the_real_model(cut: int, rank: int, more: tuple[str, ...]) -> None:
    """FLOPs and bytes of a real step, counted and weighed, against the closed forms of every cut and rank."""
    changes = (*two("rounds: 1, local_steps: 1"), *EVEN, "execution.mode=real", *more, f"split={{policy: fixed, p: {cut}}}",
               f"backbone.lora.rank={rank}", "devices.cloud.speed=1 GFLOP/s", "devices.client.speed=1 GFLOP/s")  # fmt: skip
    load = problem(plan_of(*changes)).loads[cut, rank]
    events = played(*changes).events
    rows = work(events)

    def seconds(what: str) -> float:
        return float(rows[rows["detail"] == what]["flops"].max()) / 1e9

    assert load.forward.max() == pytest.approx(seconds("part1.forward"), rel=1e-12)
    assert load.backward.max() == pytest.approx(seconds("part1.backward"), rel=1e-12)
    assert load.server_forward + load.server_backward == pytest.approx(seconds("part2.learn"), rel=1e-12)
    assert load.activation[0] == 8 * transfers(events, "activation")["bytes"].max()
    assert load.adapters[0] == 8 * transfers(events, "adapters")["bytes"].max()


def test_cuts_that_do_not_fit_are_left_out() -> None:
    changes = (*two("rounds: 1"), *EVEN)
    made = problem(plan_of(*changes))
    assert sorted(made.loads) == [(1, 2), (2, 2)]
    size = plan_of(*changes).outline
    from elsa_sim.learning.backbone.options import two_parts

    needed = [size.training([two_parts(3, p)[0]], 4, 5).total() for p in (1, 2)]
    tight = (*changes, f"devices.overrides.client1.memory={(needed[0] + needed[1]) / 2}")
    assert sorted(problem(plan_of(*tight)).loads) == [(1, 2)]
    with pytest.raises(InputFaults, match="no cut fits: 2 layers on client1"):
        problem(plan_of(*tight), cuts=(2,))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("protocol={kind: splitfed_v1}", *TWO_SERVERS), "has no main server"),
        (("protocol={kind: sflllm}",), "add the section"),
        ((*two("rounds: 1"), "wireless.association=strongest"), "valid: all"),
        ((*two("rounds: 1"), "wireless.clients=[client0]"), "all clients must be wireless"),
    ],
)
def test_scenarios_without_a_joint_problem(changes: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputFaults, match=said):
        problem(plan_of(*changes))


@pytest.mark.parametrize("kind", ["splitfed_v1", "elsa", "fedavg"])
def test_any_protocol_can_have_its_uplinks_optimised(kind: str) -> None:
    """What is optimised by is what the protocol sends and computes: the same functions, a shorter run, the same learning."""
    base = (f"protocol={{kind: {kind}, rounds: 1, local_steps: 3}}", TWO_SERVERS[0], *EVEN, *MORE,
            "wireless={stations: [edge0], subchannels: 8, bandwidth: 100 kHz, total_power: 0.3, downlink: 20 Mbit/s, "
            "nodes: {client1: {at: [100, 100]}, edge0: {at: [500, 500]}}}")  # fmt: skip
    plain = played(*base)
    cut = () if kind == "fedavg" else ("split={policy: latency}",)
    best = ("wireless.allocator=greedy", "wireless.power_control=min_delay", *cut)
    assert played(*base, *best).summary["sim_time_s"] < 0.9 * plain.summary["sim_time_s"]


def test_cuts_follow_the_rates_of_the_radio() -> None:
    """Whether a layer is worth its adapters depends on the uplink that the radio gives, not on the topology's."""
    base = ("protocol={kind: splitfed_v1, rounds: 1}", TWO_SERVERS[0], *EVEN, "split={policy: latency}")
    waits = {}
    for bandwidth in ("100 kHz", "200 kHz"):
        plan = plan_of(*base, f"wireless={{stations: [edge0], bandwidth: {bandwidth}}}")
        assert plan.cuts is not None
        assert plan.layout is not None
        radio = radio_of(plan.scenario, plan.layout, plan.context.streams)
        set_demands(radio, plan.needs)
        size = 4 * 5 * 32 * 4 + 2 * 66
        bits = 2 * 8 * size
        wire = bits / radio.rate("client0", "edge0") + bits / min(radio.rate("edge0", "client0"), 1e9) + 4 * 0.003
        assert f"wire {wire:.3g}" in plan.cuts["client0"].why
        waits[bandwidth] = wire
    assert waits["200 kHz"] < waits["100 kHz"]
    wanted = plan.needs[None]
    assert set(wanted.bits) == {"client0", "client1", "client2"}
    assert wanted.bits["client0"] == 2 * 8 * (4 * 5 * 32 * 4 + 2 * 66)


def test_one_run_one_trace_whatever_was_solved_between() -> None:
    """Compiled programmes are kept between solves; nothing of one solve is left in the next."""
    changes = (*two("rounds: 1, local_steps: 2"), *EVEN, *MORE, "wireless.fading=selective",
               "wireless.allocator=min_delay", "wireless.power_control=min_delay")  # fmt: skip
    first = played(*changes)
    optimise(problem(plan_of(*changes)))
    played(*changes, "wireless.bandwidth=1 MHz")
    assert played(*changes).summary["trace_sha256"] == first.summary["trace_sha256"]
