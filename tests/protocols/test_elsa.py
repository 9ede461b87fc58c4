"""ELSA's own parts in whole runs: probing, clustering, trust and quarantine, cuts that differ, what can be left out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import small_runs
import torch
from protocol_laws import LAWS, TIMING, timeline
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from small_runs import HIDDEN, framed, known, played, transfers, work, world_of

from elsa_sim.base.errors import ScenarioError
from elsa_sim.learning.clustering.scores import ClientScores
from elsa_sim.learning.tasks.base import Split
from elsa_sim.learning.tasks.partition import Iid
from elsa_sim.results.metrics import Results
from elsa_sim.run import checks, simulation
from elsa_sim.scenario import model

TEXTS = 8
PROBED = "trust: {}, probing: {texts: 8, warm_up: 1}, recluster_every: 1"


@pytest.fixture(autouse=True)
def public_texts() -> Iterator[None]:
    """The small scenario with public texts besides its own."""
    text = small_runs.TEXT.replace("train_size: 90", f"train_size: {90 + TEXTS}, public: {TEXTS}")
    with patch.object(small_runs, "TEXT", text):
        yield


def small(more: str, rounds: int = 2) -> str:
    return f"{{kind: elsa, rounds: {rounds}, local_steps: 2, lr: 5.0e-3, {more}}}"


@cache
def once(*changes: str, seed: int | None = None) -> Results:
    return played(*changes, seed=seed)


def scored(results: Results) -> list[dict[str, Any]]:
    """What every probing found out about every client."""
    rows = results.events[results.events["kind"] == "assignment"]
    return [
        {"client": str(r.node), "edge": str(r.peer), "round": int(r.round), **json.loads(r.metrics or "{}")}
        for r in rows.itertuples()
    ]


# -- laws ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_laws_of_protocols_hold_with_probing(name: str, tmp_path: Path) -> None:
    obeys(name, f"clustering: random, {PROBED}", tmp_path)


@pytest.mark.parametrize(
    "name",
    ["one_seed_gives_one_trace", "timing_only_has_the_same_timeline", "it_is_gone_on_with_as_it_went",
     "bytes_are_conserved", "time_runs_forwards", "its_steps_are_announced"],
)  # fmt: skip
def test_laws_of_protocols_hold_where_edge_servers_are_full(name: str, tmp_path: Path) -> None:
    """Who trains where is told by the scenario alone, so that the arithmetic is that of the laws above."""
    obeys(name, f"clustering: {{kind: nearest, capacity: 2}}, {PROBED}", tmp_path)


def obeys(name: str, options: str, folder: Path) -> None:
    needs = {"folder": folder} if "folder" in inspect.signature(LAWS[name]).parameters else {}
    LAWS[name](small(options), **needs)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *product(["similar", "diverse"], ["one_seed_gives_one_trace", "bytes_are_conserved", "time_runs_forwards",
                 "adapters_stay_finite", "a_written_scenario_repeats_the_run", "its_steps_are_announced"]),
        ("similar", "the_executor_changes_nothing"),
    ],
)  # fmt: skip
def test_laws_hold_where_behaviour_has_a_say(kind: str, name: str, tmp_path: Path) -> None:
    """All but those that compare with timing mode, in which there is no behaviour."""
    obeys(name, f"clustering: {kind}, {PROBED}", tmp_path)


def test_timing_without_behaviour_has_the_same_bytes_and_the_nearest_edge_servers() -> None:
    real, timing = (once(f"protocol={small(f'clustering: similar, {PROBED}')}", *more) for more in ((), (TIMING,)))
    assert timing.summary["bytes"]["by_kind"] == real.summary["bytes"]["by_kind"]
    nearest = once(f"protocol={small(f'clustering: nearest, {PROBED}')}", TIMING)
    assert timeline(timing) == timeline(nearest)
    assert not any("trust" in row for row in scored(timing))


# -- what probing costs -------------------------------------------------------------------------------------------------


def test_bytes_of_probing_by_hand() -> None:
    results, world = world_of(f"protocol={small(f'clustering: similar, {PROBED}')}")
    clients, times, k = 3, 2, 7  # as many dimensions as 8 texts span
    by_kind = {kind: transfers(results.events, kind)["bytes"] for kind in ("probe", "fingerprint", "assignment")}
    tokens = world.public(TEXTS).valid
    texts, projection = framed(4 * tokens + 4 * TEXTS), framed(4 * (HIDDEN + HIDDEN * k))
    assert sorted(by_kind["probe"]) == sorted([texts, projection] * clients)  # once, not at every probing
    report = framed(4 * (k + k * (k + 1) // 2 + TEXTS * 3))  # mean, covariance, three classes per text
    assert by_kind["fingerprint"].tolist() == [report] * clients * times
    assert by_kind["assignment"].tolist() == [framed(4)] * clients * times
    assert len(transfers(results.events, "activation")) == clients * times * (2 * 1 + 2) + clients * 2 * 2 * 2 * 2
    rows = work(results.events)
    for label in ("fit projection", "judge clients", "part1.probe", "part2.probe", "part3.probe"):
        done = rows[rows["detail"] == label]
        assert len(done) == {"fit projection": 1, "judge clients": times}.get(label, clients * times)
        assert (done["flops"] > 0).all()
        assert (done["t_end_s"] > done["t_start_s"]).all()


@pytest.mark.parametrize(("consistency", "floats"), [("predictions", 8 * 3), ("similarity", 8 * 9 // 2)])
def test_trust_alone_reports_only_what_it_compares(consistency: str, floats: int) -> None:
    options = f"trust: {{consistency: {consistency}}}, probing: {{texts: 8, warm_up: 0}}, recluster_every: 5"
    results = once(f"protocol={small(options)}")
    assert set(transfers(results.events, "fingerprint")["bytes"]) == {framed(4 * floats)}
    assert len(transfers(results.events, "assignment")) == 0
    assert {row["round"] for row in scored(results)} == {1}
    assert all(0 <= row["trust"] <= 1 for row in scored(results))


def test_probing_again_every_so_many_rounds() -> None:
    options = "trust: {}, probing: {texts: 8, warm_up: 1}, recluster_every: 2"
    results = once(f"protocol={small(options, rounds=5)}", TIMING)
    assert sorted({row["round"] for row in scored(results)}) == [1, 3, 5]


# -- whom it finds ------------------------------------------------------------------------------------------------------

PLANTED = (
    "backbone.lora={rank: 4, alpha: 8}",
    "topology={kind: tree, clients: 12, edges: 3, access: {up: 10 Mbit/s, latency: 10 ms}, backhaul: {up: 200 Mbit/s}}",
    "task={kind: synthetic, topics: 6, train_size: 1008, test_size: 30, batch_size: 8, public: 48}",
)


def disjoint(self: Iid, split: Split, clients: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Clients in three groups; a group shares two topics, no other group has them."""
    assert split.labels is not None
    owner = np.empty(len(split), dtype=np.int64)
    for group in range(3):
        rows = np.flatnonzero(split.labels // 2 == group)
        owner[rows] = rng.permutation(np.resize(np.arange(group, clients, 3), len(rows)))
    return [np.flatnonzero(owner == client) for client in range(clients)]


@pytest.mark.parametrize("seed", range(5))
def test_clustering_recovers_planted_groups(seed: int) -> None:
    protocol = ("protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 1, lr: 1.0e-2, clustering: similar, "
                "probing: {texts: 48, warm_up: 8}}")  # fmt: skip
    with patch.object(Iid, "deal", disjoint):
        found = scored(played(protocol, *PLANTED, seed=seed))
    assert adjusted_rand_score(np.arange(12) % 3, [row["group"] for row in found]) >= 0.9
    assert adjusted_rand_score(np.arange(12) % 3, [row["edge"] for row in found]) >= 0.9  # an edge server for each


LIARS = (
    "backbone.lora={rank: 4, alpha: 8}",
    "topology={kind: tree, clients: 10, edges: 2, access: {up: 10 Mbit/s, latency: 10 ms}, backhaul: {up: 200 Mbit/s}}",
    "task={kind: synthetic, topics: 6, train_size: 1248, test_size: 100, batch_size: 8, public: 48, purity: 0.9, "
    "topic_words: 8, shared_words: 30}",
    "partition={kind: dirichlet, alpha: 0.5, min_samples: 8}",
    "unreliable={share: 0.2, kinds: [label_flip]}",
)


@cache
def liars(seed: int) -> Results:
    """Clients with skewed labels, a fifth of which are permuted; probed before and after four rounds."""
    protocol = ("protocol={kind: elsa, rounds: 5, edge_rounds: 1, local_steps: 10, lr: 2.0e-2, trust: {}, "
                "recluster_every: 4, probing: {texts: 48, warm_up: 10}}")  # fmt: skip
    return played(protocol, *LIARS, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_trust_separates_planted_unreliable_clients(seed: int) -> None:
    results = liars(seed)
    lying = results.summary["unreliable"]
    assert len(lying) == 2
    found = [row for row in scored(results) if row["round"] == 5]
    assert roc_auc_score([row["client"] not in lying for row in found], [row["trust"] for row in found]) >= 0.9


@pytest.mark.slow
def test_with_liars_trust_learns_more_than_no_trust_and_than_fedavg() -> None:
    """The same 80 local steps per client for each, mean over three seeds."""
    common = "rounds: 8, local_steps: 10, lr: 2.0e-2"
    probed = "recluster_every: 2, probing: {texts: 48, warm_up: 10}"
    systems = [f"{{kind: elsa, {common}, edge_rounds: 1, trust: {{}}, {probed}}}",
               f"{{kind: elsa, {common}, edge_rounds: 1}}", f"{{kind: fedavg, {common}}}"]  # fmt: skip
    trusting, plain, flat = (
        np.mean([played(f"protocol={system}", *LIARS, seed=seed).summary["accuracy"] for seed in range(3)])
        for system in systems
    )
    assert trusting > plain + 0.02
    assert trusting > flat + 0.02


# -- what trust counts --------------------------------------------------------------------------------------------------


def trusted(found: Iterable[list[float]], options: str) -> dict[tuple[float, ...], set[float]]:
    """What client1 weighs by trust in a run whose probings find these trusts, one after another."""
    from elsa_sim.learning.clustering import reports
    from elsa_sim.learning.clustering.weights import Weighed

    planned, real, weigh = iter(found), reports.compare, Weighed.trust

    def planted(reports: Any, groups: int, **more: bool) -> ClientScores:
        made = real(reports, groups, **more)
        return ClientScores(made.divergences, made.groups, np.array(next(planned)))

    seen: dict[tuple[float, ...], set[float]] = {}

    def kept(self: Weighed, scores: ClientScores, row: int | None) -> float:
        weight = weigh(self, scores, row)
        if row == 1:
            seen.setdefault(tuple(scores.trust), set()).add(weight)
        return weight

    with patch.object(reports, "compare", planted), patch.object(Weighed, "trust", kept):
        results = played(f"protocol={small(options, rounds=4)}")
    assert (results.events["node"] == "client1").sum() == (results.events["node"] == "client0").sum()  # it goes on
    return seen


def test_a_client_in_quarantine_comes_back() -> None:
    """Distrusted at the first probing, trusted at the second: without weight in between, with weight afterwards."""
    options = "trust: {threshold: 0.5}, probing: {texts: 8, warm_up: 0}, recluster_every: 2"
    before, after = trusted(([1.0, 0.1, 1.0], [1.0, 1.0, 1.0]), options).values()
    assert before == {0.0}
    assert after == {1.0}


@pytest.mark.parametrize(
    ("threshold", "weight"), [(": {threshold: 0.9}", 0.0), (": {}", 0.7), (": {threshold: 0.0}", 0.7)]
)
def test_the_threshold_of_quarantine_is_the_users(threshold: str, weight: float) -> None:
    """Seven tenths of the median are under 0.9 of it, not under the default of 0.6."""
    options = f"trust{threshold}, probing: {{texts: 8, warm_up: 0}}"
    (found,) = trusted(([1.0, 0.7, 1.0],), options).values()
    assert found == {weight}


# -- cuts that differ ---------------------------------------------------------------------------------------------------

DEEP = ("backbone.config.num_hidden_layers=6", "topology={kind: tree, clients: 3, edges: 1, access: {up: 1 Gbit/s, "
        "latency: 1 ms}, backhaul: {up: 1 Gbit/s}}")  # fmt: skip
UNEQUAL = "devices={client: {speed: 40 GFLOP/s}, edge: {speed: 2 GFLOP/s}, overrides: {client0: {speed: 1 GFLOP/s}}}"


def test_layers_are_averaged_across_different_cuts_as_by_hand() -> None:
    """Three clients cut at different layers: the same adapters as with one cut, and the weighted mean of what each had."""
    handed: list[tuple[tuple[str, ...], dict[str, torch.Tensor], float]] = []
    from elsa_sim.protocols.local import SplitTrainer

    train = SplitTrainer.train

    def kept(self: SplitTrainer, client: Any, *args: Any, **named: Any) -> Any:
        result = yield from train(self, client, *args, **named)
        handed.append((self.own(client), dict(result.value), client.weight))
        return result

    evaluated: list[dict[str, torch.Tensor]] = []
    with (
        patch.object(SplitTrainer, "train", kept),
        patch("elsa_sim.world.world.World.evaluate", autospec=True) as evaluate,
    ):
        evaluate.side_effect = lambda world, theta, *, round: bool(evaluated.append(dict(theta.value)))
        played("protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 2, lr: 5.0e-3}", *DEEP, UNEQUAL,
               "split={policy: score, weights: {memory: 0, rate: 0}}", "partition={kind: quantity, alpha: 1.0}")  # fmt: skip
    assert len({own for own, _, _ in handed}) > 1  # cuts do differ
    assert len({weight for *_, weight in handed}) == 3
    total = sum(weight for *_, weight in handed)
    for name, tensor in evaluated[-1].items():
        expected = sum(values[name].double() * weight for _, values, weight in handed) / total
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(tensor, evaluated[0][name]) or "lora_A" in name


def test_the_dynamic_split_is_sooner_done_and_learns_as_much() -> None:
    """Fast and slow clients behind a slow edge server: every fixed cut takes longer, and accuracy is the same."""
    protocol = "protocol={kind: elsa, rounds: 3, local_steps: 4, lr: 1.0e-2}"
    times = {}
    for p, q in ((1, 1), (2, 1), (2, 2), (4, 1)):
        fixed = played(protocol, *DEEP, UNEQUAL, f"split={{policy: fixed, p: {p}, q: {q}}}", TIMING)
        times[p, q] = fixed.summary["sim_time_s"]
    dynamic = played(protocol, *DEEP, UNEQUAL, "split=latency", TIMING).summary["sim_time_s"]
    assert dynamic < 0.9 * min(times.values())
    learned = [played(protocol, *DEEP, UNEQUAL, f"split={split}") for split in ("latency", "{policy: fixed, p: 1}")]
    np.testing.assert_allclose(*(each.rounds["loss"] for each in learned), rtol=1e-4)
    assert learned[0].summary["accuracy"] == learned[1].summary["accuracy"]
    assert learned[0].summary["sim_time_s"] == pytest.approx(dynamic)


def test_the_cost_model_is_what_a_step_takes() -> None:
    """One client, full-length texts: the predicted time of a local step is the simulated one."""
    one = ("topology.clients=1", "topology.edges=1", "task.length=[20, 20]", "task.max_length=22", "split=latency",
           "backbone.config.num_hidden_layers=6")  # fmt: skip
    results = played("protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 3}", *one, TIMING)
    made = checks.check(small_runs.loaded("protocol={kind: elsa}", *one))
    predicted = float(made.cuts["client0"].why.split(" s a step")[0])  # type: ignore[index]
    rows = work(results.events)
    starts = rows.loc[rows["detail"] == "part1.forward", "t_start_s"].tolist()
    for one_step in [b - a for a, b in pairwise(starts)]:
        assert predicted == pytest.approx(one_step, rel=5e-3)  # lengths of sequences (4 bytes each) are not in it


# -- what can be left out, and what cannot be ---------------------------------------------------------------------------


@cache
def entire(*changes: str) -> Results:
    """A round of the example with all parts, without arithmetic."""
    example = Path(__file__).parents[2] / "scenarios" / "elsa.yaml"
    return simulation.run(model.load(example, ("protocol.rounds=1", TIMING, *changes)))


@pytest.mark.parametrize(
    ("change", "there", "gone"),
    [
        ("protocol.clustering=null", "fingerprint", "assignment"),
        ("protocol.trust=null", "assignment", ""),
        ("split=fixed", "assignment", ""),
        ("codec={activation: ssop}", "assignment", ""),
        ("codec={activation: {kind: sketch, columns: 16}, gradient: {kind: sketch, columns: 16}}", "assignment", ""),
    ],
)
def test_each_part_is_one_option_away(change: str, there: str, gone: str) -> None:
    whole, without = entire(), entire(change)
    kinds = without.summary["bytes"]["by_kind"]
    assert there in kinds
    assert not gone or gone not in kinds
    assert timeline(without) != timeline(whole)


def test_still_adapters_end_a_run() -> None:
    protocol = f"protocol={small('edge_rounds: 1', rounds=4)}"
    assert known(protocol, "stop.adapter_change=1.0e+9").summary["rounds"] == 1
    assert known(protocol, "stop.adapter_change=1.0e-9").summary["rounds"] == 4
    assert known(protocol, "stop.adapter_change=1.0e+9", TIMING).summary["rounds"] == 4  # nothing to compare


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"protocol={small('trust: {}, probing: {texts: 99}')}", "protocol.probing.texts: 99 probe texts are needed"),
        (
            f"protocol={small(f'clustering: {{kind: similar, capacity: 1}}, {PROBED}')}",
            "protocol.clustering: capacity 1",
        ),
        (f"protocol={small(f'clustering: {{kind: nearest, latency_bound: 1 ms}}, {PROBED}')}", "at least 0.01 s"),
        (f"protocol={small('clustering: simular')}", "did you mean 'similar'"),
        (
            f"protocol={small('clustering: {kind: similar, weigth: 1}')}",
            "unknown key 'weigth' (kind: similar); did you mean 'weight'",
        ),
        ("split={policy: latency, p_min: 2}", "split.p_min: p + q = 3 leaves no layer to the server"),
        ("split={policy: score, p_max: 2}", "split.p_max: p + q = 3 leaves no layer to the server"),
    ],
)
def test_faults(change: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        checks.check(small_runs.loaded(change))
    assert said in str(error.value)


def test_check_tells_cuts_and_what_timing_leaves_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from elsa_sim.cli import commands

    file = tmp_path / "small.yaml"
    file.write_text(small_runs.TEXT)
    commands.check(file, [f"protocol={small(f'clustering: similar, {PROBED}')}", TIMING, "split=latency"])
    said = capsys.readouterr().out
    assert "s a step: client" in said
    assert "clustering similar needs arithmetic" in said
    assert json.dumps(said)
