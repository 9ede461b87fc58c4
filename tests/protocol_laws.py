"""Laws that every protocol obeys: functions of a protocol's options as YAML, such as ``{kind: elsa, rounds: 2}``."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import yaml
from in_process import InProcess
from resumed import assert_resumes
from small_runs import drawn_batches, known, loaded, played, same_rows, transfers, work, world_of

from elsa_sim.devices import Device
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.learning.execution.work import Ref
from elsa_sim.protocols.base import Protocol
from elsa_sim.results.metrics import Results, load
from elsa_sim.run import checks, simulation
from elsa_sim.scenario import model
from elsa_sim.scenario.model import Loaded
from elsa_sim.world.world import World

Law = Callable[[str], None]
LAWS: dict[str, Law] = {}
CHAINS = {"activation": "[ssop, {kind: sketch, columns: 8}, int8]", "gradient": "[{kind: sketch, columns: 8}, int8]",
          "adapters": "[float16]"}  # fmt: skip
TIMING = "execution.mode=timing"


def coded(protocol: str, chains: Mapping[str, str] = CHAINS) -> str:
    """The ``chains`` of the kinds of messages that a protocol sends, as a change."""
    sent = loaded(f"protocol={protocol}").scenario.protocol.message_kinds
    return f"codec={{{', '.join(f'{kind}: {chain}' for kind, chain in chains.items() if kind in sent)}}}"


def law(function: Law) -> Law:
    LAWS[function.__name__] = function
    return function


def trace(results: Results) -> str:
    return str(results.summary["trace_sha256"])


def timeline(results: Results) -> str:
    return str(results.summary["timeline_sha256"])


@law
def one_seed_gives_one_trace(protocol: str) -> None:
    again = played(f"protocol={protocol}")
    assert trace(again) == trace(known(f"protocol={protocol}"))
    assert same_rows(again.events, known(f"protocol={protocol}").events)


@law
def another_seed_gives_another(protocol: str) -> None:
    other = known(f"protocol={protocol}", seed=1)
    assert trace(other) != trace(known(f"protocol={protocol}"))
    assert other.summary["loss"] != known(f"protocol={protocol}").summary["loss"]


@law
def the_executor_changes_nothing(protocol: str) -> None:
    """Timeline and bytes are those of the serial executor; adapters too, up to rounding (a quantiser makes more of it)."""
    sketched = {"activation": "[ssop, {kind: sketch, columns: 8}]", "gradient": "[{kind: sketch, columns: 8}]"}
    smooth, rough = coded(protocol, sketched), coded(protocol)
    split = loaded(f"protocol={protocol}").scenario.protocol.pattern.split
    cuts = ("backbone.config.num_hidden_layers=5", *(["split={policy: score}"] if split else []),
            "devices.overrides={client1: {speed: 0.2 GFLOP/s}}")  # fmt: skip
    for rounding, *changes in ((1e-4,), (1e-4, smooth, *cuts), (3e-2, rough)):
        serial, expected = adapters_of(f"protocol={protocol}", "execution.executor=serial", *changes)
        for workers in (1, 2):
            with patch.dict(POOLS, local=InProcess):
                batched, found = adapters_of(f"protocol={protocol}", f"execution.workers={workers}", *changes)
            assert timeline(serial) == timeline(batched)
            assert serial.summary["bytes"] == batched.summary["bytes"]
            assert len(expected) == len(found) == 3
            for one, two in zip(expected, found, strict=True):
                assert one.keys() == two.keys()
                assert norm([one[name] - two[name] for name in one]) <= rounding * norm(one.values())


def adapters_of(*changes: str) -> tuple[Results, list[dict[str, torch.Tensor]]]:
    """A run, and the adapters that it evaluated."""
    seen: list[dict[str, torch.Tensor]] = []
    evaluate = World.evaluate

    def kept(world: World, adapters: Ref, *, round: int) -> bool:
        seen.append(dict(adapters.value))
        return evaluate(world, adapters, round=round)

    with patch.object(World, "evaluate", kept):
        return played(*changes), seen


def norm(tensors: Iterable[torch.Tensor]) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


@law
def timing_only_has_the_same_timeline(protocol: str) -> None:
    for codec in ((), (coded(protocol),)):
        real, timing = known(f"protocol={protocol}", *codec), played(f"protocol={protocol}", TIMING, *codec)
        assert timeline(timing) == timeline(real)
        assert timing.summary["bytes"] == real.summary["bytes"]
        assert timing.summary["sim_time_s"] == real.summary["sim_time_s"]
        assert timing.summary["accuracy"] is None


@law
def it_is_gone_on_with_as_it_went(protocol: str, folder: Path) -> None:
    """Broken off after a checkpoint, with clients of all speeds that come and go and codecs with memories."""
    away = "devices.client.downtimes=[{kind: on_off, on: 2 s, off: 0.1 s}]"
    changes = (f"protocol={protocol}", coded(protocol), away, "devices.overrides={client1: {slowdown: 2.7}}")
    assert assert_resumes(folder, *changes, rounds=[1]) == [1, 2]


@law
def bytes_are_conserved(protocol: str) -> None:
    results, world = world_of(f"protocol={protocol}", coded(protocol))
    rows = transfers(results.events)
    under_way = rows[rows["status"] == "in_flight"]
    assert continuous(protocol) or not len(under_way)
    by_kind, arrived = (
        each.groupby("detail", observed=True)["bytes"].sum().to_dict() for each in (rows, rows.drop(under_way.index))
    )
    assert by_kind == world.event_log.byte_counters.sent == results.summary["bytes"]["by_kind"]
    assert arrived == world.event_log.byte_counters.received
    assert not world.event_log.byte_counters.aborted
    assert results.summary["bytes"]["total"] == sum(by_kind.values())
    assert results.summary["invariants"] == "hold"
    carried = sum(world.network.carried_bytes.values())
    hops = [row.bytes * row.route.count(">") for row in rows.drop(under_way.index).itertuples()]
    part = sum(4 * row.bytes for row in under_way.itertuples())  # of a route of at most four links
    assert sum(hops) * (1 - 1e-9) - 1e-6 <= carried <= (sum(hops) + part) * (1 + 1e-9) + 1e-6


@law
def time_runs_forwards(protocol: str) -> None:
    events = known(f"protocol={protocol}").events
    assert (events["t_start_s"] >= 0).all()
    assert (events["t_start_s"] <= events["t_end_s"]).all()
    assert events["t_end_s"].is_monotonic_increasing
    rows = work(events)
    ended = rows[rows["status"] == "ok"]
    assert (ended["t_start_s"] < ended["t_end_s"]).all()  # whatever is done takes time
    assert continuous(protocol) or len(ended) == len(rows)
    assert set(rows["status"]) <= {"ok", "in_flight"}


def continuous(protocol: str) -> bool:
    """Whether clients go on while the server evaluates, so that something is under way when a run ends."""
    return loaded(f"protocol={protocol}").scenario.protocol.continuous


def ended_work(results: Results) -> pd.DataFrame:
    """The pieces of work and transfers that ended."""
    rows = work(results.events)
    return rows[rows["status"] == "ok"].reset_index(drop=True)


@law
def random_numbers_are_common(protocol: str) -> None:
    """Clients hold and meet the same samples and the same slowdowns as under a reference protocol."""
    change = "devices.client.stragglers=[lognormal]"
    slowdown, seen = Device.slowdown, []

    def kept(self: Device) -> float:
        seen.append((self.name, slowdown(self)))
        return float(seen[-1][1])

    met = []
    for each in (protocol, "{kind: fedavg, rounds: 2, local_steps: 2}"):
        seen.clear()
        with drawn_batches() as drawn, patch.object(Device, "slowdown", kept):
            _, world = world_of(f"protocol={each}", change, TIMING)
        factors = {name: [f for n, f in seen if n == name] for name in {name for name, _ in seen}}
        samples = [client.samples.tolist() for client in world.clients]
        batches = [drawn.get(client.samples.tobytes(), []) for client in world.clients]
        met.append((samples, [[b.tokens.tolist() for b in own] for own in batches], factors))
    (samples, batches, factors), (their_samples, their_batches, their_factors) = met
    assert samples == their_samples
    for mine, theirs in zip(batches, their_batches, strict=True):
        assert all(a == b for a, b in zip(mine, theirs, strict=False))
    for name in factors.keys() & their_factors.keys():
        shared = min(len(factors[name]), len(their_factors[name]))
        assert shared
        assert factors[name][:shared] == their_factors[name][:shared]
    clients = {"client0", "client1", "client2"}
    assert any(batches) == bool(clients & factors.keys())  # who trains on the clients draws their batches


@law
def less_capacity_is_never_faster(protocol: str) -> None:
    base = known(f"protocol={protocol}")
    for change in (
        "devices.overrides.client1={slowdown: 5}",
        "devices.edge.speed=1 GFLOP/s",
        "devices.cloud.speed=1 GFLOP/s",
        "topology.overrides={client0: {up: 1 Mbit/s}}",
        "topology.backhaul.down=1 Mbit/s",
        "topology.access.latency=50 ms",
    ):
        if continuous(protocol):
            break  # a slower client arrives in another merge, and what an old update costs the server is not nothing
        less = played(f"protocol={protocol}", change, TIMING)
        assert less.summary["sim_time_s"] >= base.summary["sim_time_s"], change
    every = played(f"protocol={protocol}", TIMING, "devices.client.slowdown=2", "devices.cloud.slowdown=2")
    assert every.summary["sim_time_s"] > base.summary["sim_time_s"]
    if len(transfers(base.events)):
        narrow = played(f"protocol={protocol}", TIMING, "topology.access={up: 1 Mbit/s, down: 1 Mbit/s}")
        assert narrow.summary["sim_time_s"] > base.summary["sim_time_s"]


@law
def it_stops_when_told(protocol: str) -> None:
    whole = known(f"protocol={protocol}")
    assert whole.summary["rounds"] == 2
    assert whole.rounds["round"].tolist() == [0, 1, 2]
    reached = float(whole.rounds["accuracy"][1])
    ends = {"stop.rounds=1": 1, f"stop.target_accuracy={reached}": int((whole.rounds["accuracy"] >= reached).argmax()),
            "stop.target_accuracy=0.0": 0, "stop.host_time=0.0": 0}  # fmt: skip
    for stop, rounds in ends.items():
        first = played(f"protocol={protocol}", stop)
        assert first.summary["rounds"] == rounds, stop
        mine, all_of_it = ended_work(first), ended_work(whole)
        assert same_rows(mine, all_of_it.iloc[: len(mine)].reset_index(drop=True))
        assert (len(mine) > 0) == (rounds > 0)
    assert played(f"protocol={protocol}", "stop.target_accuracy=1.0").summary["rounds"] == 2


@law
def what_is_under_way_when_time_is_up_is_listed(protocol: str) -> None:
    whole = known(f"protocol={protocol}")
    limit = whole.summary["sim_time_s"] * 0.3
    cut = played(f"protocol={protocol}", f"stop.sim_time={limit!r}")
    assert cut.summary["sim_time_s"] == limit
    assert cut.summary["invariants"] == "hold"
    rows, ended = work(cut.events), work(whole.events)
    under_way, done = rows[rows["status"] == "in_flight"], rows[rows["status"] == "ok"]
    assert len(under_way)
    assert len(under_way) + len(done) == len(rows)
    assert (under_way["t_end_s"] == limit).all()
    assert same_rows(done.reset_index(drop=True), ended[ended["t_end_s"] <= limit].reset_index(drop=True))
    begun = ended[(ended["t_end_s"] > limit) & (ended["t_start_s"] < limit) & (ended["kind"] == "transfer")]
    listed = under_way[(under_way["kind"] == "transfer") & (under_way["t_start_s"] < limit)]
    columns = ["t_start_s", "node", "peer", "bytes", "detail"]
    assert sorted(map(str, begun[columns].to_numpy().tolist())) == sorted(map(str, listed[columns].to_numpy().tolist()))


@law
def adapters_stay_finite(protocol: str) -> None:
    losses = known(f"protocol={protocol}", coded(protocol)).rounds["loss"]
    assert np.isfinite(losses).all()
    assert losses.nunique() == len(losses)  # it learns something every round
    evaluated = []
    with patch("elsa_sim.world.world.World.evaluate", autospec=True) as evaluate:
        evaluate.side_effect = lambda world, adapters, *, round: bool(evaluated.append(adapters))
        world_of(f"protocol={protocol}", coded(protocol))
    assert len(evaluated) == 3
    for adapters in evaluated:
        assert adapters.value.keys() == evaluated[0].value.keys()
        assert all(bool(tensor.isfinite().all()) for tensor in adapters.value.values())
    assert any(not torch.equal(tensor, evaluated[0].value[name]) for name, tensor in evaluated[-1].value.items())


@law
def a_written_scenario_repeats_the_run(protocol: str, folder: Path | None = None) -> None:
    assert folder is not None
    first = played(f"protocol={protocol}", coded(protocol), "seed=3", folder=folder / "run")
    again: Loaded = model.load(folder / "run" / "scenario.yaml")
    assert trace(simulation.run(again)) == trace(first) == trace(load(folder / "run"))


@law
def no_global_state_is_touched(protocol: str) -> None:
    def state() -> tuple[object, ...]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002
        return random.getstate(), name, keys.tolist(), rest, torch.get_rng_state().tolist(), torch.get_num_threads()

    threads = torch.get_num_threads()
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    torch.set_num_threads(2)
    try:
        before = state()
        one = played(f"protocol={protocol}", coded(protocol))
        assert state() == before
        random.random()
        np.random.random()  # noqa: NPY002
        torch.rand(1)
        assert trace(played(f"protocol={protocol}", coded(protocol))) == trace(one)
    finally:
        torch.set_num_threads(threads)


@law
def its_messages_are_declared(protocol: str) -> None:
    """What it sends can be given codecs."""
    sent = known(f"protocol={protocol}").summary["bytes"]["by_kind"]
    assert set(sent) <= set(loaded(f"protocol={protocol}").scenario.protocol.message_kinds)


@law
def its_steps_are_announced(protocol: str) -> None:
    """The progress bar ends at 100 %."""
    made = loaded(f"protocol={protocol}", TIMING)
    _, world = world_of(f"protocol={protocol}", TIMING)
    assert world.progress.done >= world.progress.total > 0
    assert continuous(protocol) or world.progress.done == world.progress.total
    expected = made.scenario.protocol.steps(len(checks.check(made).samples))
    assert world.progress.total == expected


#: One client, whose run is that of centralised training where the protocol says so.
ONE = ("topology={kind: tree, clients: 1, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 10 Mbit/s}}", "seed=4",
       "backbone.config.num_hidden_layers=4", "task.train_size=50")  # fmt: skip


def changed(protocol: str, **options: object) -> str:
    """The same protocol with other options."""
    return f"protocol={json.dumps(yaml.safe_load(protocol) | options)}"


def options_of(protocol: str) -> Protocol:
    made: Protocol = loaded(f"protocol={protocol}").scenario.protocol
    return made


def cut_after(protocol: str, p: int) -> tuple[str, ...]:
    """A cut after ``p`` layers, and before the last one where clients have the head; nothing where the model is whole."""
    pattern = options_of(protocol).pattern
    return (f"split={{policy: fixed, p: {p}{', q: 1' if pattern.tail else ''}}}",) if pattern.split else ()


@law
def one_client_is_centralised_training(protocol: str) -> None:
    """Where the step is that of the unsplit model, and nothing else is done with what one client learned."""
    made = options_of(protocol)
    if made.neutral is None or not made.pattern.exact:
        return
    given: dict[str, object] = {"rounds": 3, "local_steps": 2, "lr": 5.0e-3, "weight_decay": 0.01, **made.neutral}
    steps = loaded(changed(protocol, **given), *ONE).scenario.protocol.steps(1) // 3
    central = f"protocol={{kind: centralized, rounds: 3, local_steps: {steps}, lr: 5.0e-3, weight_decay: 0.01}}"
    with drawn_batches() as theirs:
        all_in_one = played(central, *ONE)
    for p in (1, 2) if made.pattern.split else (1,):
        with drawn_batches() as mine:
            one = played(changed(protocol, **given), *cut_after(protocol, p), *ONE)
        assert mine.keys() == theirs.keys()
        for a, b in zip(mine.values(), theirs.values(), strict=True):
            assert [x.tokens.tolist() for x in a] == [x.tokens.tolist() for x in b]
        assert len(one.rounds) == 4
        for column in ("loss", "train_loss"):
            np.testing.assert_allclose(one.rounds[column], all_in_one.rounds[column], rtol=1e-5)
        assert (one.rounds["accuracy"] == all_in_one.rounds["accuracy"]).all()
        assert one.rounds["loss"].iloc[-1] != one.rounds["loss"].iloc[0]


@law
def moments_that_are_not_kept_make_a_difference(protocol: str) -> None:
    if not options_of(protocol).pattern.trained_at("client"):
        return  # nobody hands on adapters, so nobody takes any over
    kept, fresh = (
        known(changed(protocol, rounds=3, local_steps=2, keep_optimizer=keep), *ONE) for keep in (True, False)
    )
    assert kept.rounds["loss"].iloc[1:].tolist() != fresh.rounds["loss"].iloc[1:].tolist()


@law
def the_cut_moves_work(protocol: str) -> None:
    """And not what is learned, where every client's step is that of the unsplit model, whoever else trains."""
    pattern = options_of(protocol).pattern
    if not pattern.split:
        return
    one, two = (
        played(f"protocol={protocol}", *cut_after(protocol, p), "backbone.config.num_hidden_layers=4", "seed=2")
        for p in (1, 2)
    )
    if pattern.exact and not pattern.shared and not continuous(protocol):
        np.testing.assert_allclose(one.rounds["loss"], two.rounds["loss"], rtol=1e-4)

    def client_flops(results: Results) -> float:
        rows = ended_work(results)
        return float(rows.loc[rows["node"].str.startswith("client"), "flops"].sum())

    assert client_flops(two) > 1.2 * client_flops(one)


@law
def a_step_is_what_its_pattern_declares(protocol: str) -> None:
    """Crossings by kind and direction, and pieces of work of clients, are those declared, times the local steps."""
    made, results = options_of(protocol), known(f"protocol={protocol}")
    steps, rows = made.steps(3), work(results.events)
    rows = rows[(rows["step"] > 0) & (rows["status"] == "ok")]
    at_clients = rows["node"].astype(str).str.startswith("client")
    sent = rows["kind"] == "transfer"
    declared = Counter((crossing.kind, crossing.up) for crossing in made.pattern.crossings)
    counted = Counter(zip(rows.loc[sent, "detail"].astype(str), at_clients[sent], strict=True))
    pieces = int((at_clients & (rows["kind"] == "compute")).sum())
    assert set(counted) == set(declared)
    if continuous(protocol):  # steps that were not merged come on top
        assert all(counted[each] >= steps * times for each, times in declared.items())
        assert pieces >= steps * made.pattern.pieces("client")
    else:
        assert counted == Counter({each: steps * times for each, times in declared.items()})
        assert pieces == steps * made.pattern.pieces("client")
