"""From a scenario to its world: all faults of all sections, and every part built as the scenario says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import loaded, played, transfers, work, world_of

from elsa_sim.base.context import Context
from elsa_sim.base.errors import Fault, ScenarioError
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.options import BackboneOptions, locate
from elsa_sim.learning.splits.base import Cut
from elsa_sim.run.checks import check, nearest
from elsa_sim.topology import Link, Node, Topology

TIMING = "execution.mode=timing"


def faults(*changes: str, folder: Path = Path()) -> list[Fault]:
    with pytest.raises(ScenarioError) as caught:
        check(loaded(*changes, folder=folder))
    return list(caught.value.faults)


def test_a_plan_has_everything_but_tensors() -> None:
    made = check(loaded())
    assert made.topology.names("client") == ("client0", "client1", "client2")
    assert set(made.devices) == {"cloud", "edge0", "edge1", "client0", "client1", "client2"}
    assert made.cuts == {f"client{i}": Cut(1, 1, "fixed") for i in range(3)}
    assert made.source.layers == 3
    assert (len(made.texts.train), len(made.texts.test)) == (90, 30)
    assert sorted(np.concatenate(made.samples).tolist()) == list(range(90))
    assert made.edge_of == {"client0": "edge0", "client1": "edge1", "client2": "edge0"}


def test_whole_models_are_not_cut() -> None:
    assert check(loaded("protocol={kind: fedavg}")).cuts is None


def test_one_seed_gives_one_plan_whatever_the_protocol() -> None:
    deals = [[s.tolist() for s in check(loaded(f"protocol={{kind: {kind}}}")).samples] for kind in ("elsa", "fedavg")]
    assert deals[0] == deals[1]
    assert deals[0] != [s.tolist() for s in check(loaded(seed=1)).samples]


def test_faults_of_all_sections_come_together() -> None:
    found = faults("topology.overrides={client9: {up: 1 Mbit/s}}", "split={policy: fixed, p: 2, q: 2}",
                   "partition={kind: quantity, min_samples: 31}", "codec.activation=[int8, ssop]",
                   "devices.overrides={edge7: {slots: 2}}", "backbone.config={num_layers_hidden: 2}")  # fmt: skip
    assert {fault.path.split(".")[0] for fault in found} >= {"codec", "backbone", "topology"}
    assert {fault.path for fault in faults("split={policy: fixed, p: 2, q: 2}", "codec.gradient=[int8, ssop]",
                                           "devices.overrides={edge7: {slots: 2}}")} == {
        "split.p", "codec.gradient.1", "devices.overrides.edge7"}  # fmt: skip


def test_faults_of_the_network_section_are_found_without_running() -> None:
    (fault,) = faults("network.outages=[{link: [client0, cloud], start: 0, duration: 1}]")
    assert fault.path == "network.outages.0.link"
    assert "there is no link between client0 and cloud" in fault.message


def test_a_codec_of_the_activations_that_gradients_cannot_follow() -> None:
    """The rotation passes into the gradient chain, where it meets what the scenario put there."""
    assert faults("codec={activation: [int8, {kind: ssop}], gradient: [int8]}")[0].path.startswith("codec.activation.1")


def test_what_elsa_and_language_models_need(tmp_path: Path) -> None:
    (tmp_path / "flat.json").write_text(
        '{"nodes": [{"name": "cloud", "role": "cloud"}, {"name": "c", "role": "client"}, {"name": "e", "role": "edge"}],'
        ' "links": [{"u": "c", "v": "cloud", "up": "1 Mbit/s"}, {"u": "e", "v": "cloud", "up": "1 Mbit/s"}]}'
    )
    assert check(loaded("topology={file: flat.json}", folder=tmp_path)).edge_of == {"c": "e"}
    (fault,) = faults("task.objective=causal_lm")
    assert (fault.path, fault.line) == ("backbone.name", 4)
    assert "valid" not in fault.message or "gpt2" in fault.message


def test_downtimes_of_devices_are_read_from_their_files(tmp_path: Path) -> None:
    downtimes = "devices.client.downtimes=[{kind: trace, file: away.csv}]"
    (fault,) = faults(downtimes, folder=tmp_path)
    assert fault.path == "devices.client.downtimes.0.file"
    (tmp_path / "away.csv").write_text("0,1\n5,0\n7,1\n")
    options = check(loaded(downtimes, folder=tmp_path)).devices["client0"]
    assert list(options.downtimes[0].intervals(np.random.default_rng(0))) == [(5.0, 7.0)]


def test_nearest_is_by_latency_then_by_name() -> None:
    nodes = [
        Node("cloud", "cloud"),
        Node("edge1", "edge"),
        Node("edge0", "edge"),
        Node("a", "client"),
        Node("b", "client"),
    ]
    links = [Link("edge0", "cloud", 1e6, 1e6, 0.1), Link("edge1", "cloud", 1e6, 1e6, 0.1),
             Link("a", "edge0", 1e6, 1e6, 0.2), Link("a", "edge1", 1e6, 1e6, 0.1),
             Link("b", "edge0", 1e6, 1e6, 0.1), Link("b", "edge1", 1e6, 1e6, 0.1)]  # fmt: skip
    topology = Topology(tuple(nodes), tuple(links))
    assert nearest(topology) == {"a": "edge1", "b": "edge0"}
    flat = Topology((nodes[0], nodes[3]), (Link("a", "cloud", 1e6, 1e6, 0.1),))
    assert nearest(flat) == {"a": "cloud"}


def test_the_seed_reaches_the_jitter_of_links() -> None:
    change = "topology.access={up: 10 Mbit/s, latency: 10 ms, jitter: 3 ms}"
    protocol = "protocol={kind: fedavg, rounds: 1, local_steps: 1}"
    took = []
    for seed in (0, 0, 1):
        rows = transfers(played(protocol, change, TIMING, seed=seed).events).iloc[:3]
        took.append((rows["t_end_s"] - rows["t_start_s"]).tolist())
    assert took[0] == took[1] != took[2]


def test_the_seed_reaches_stragglers() -> None:
    took = [work(played("devices.client.stragglers=[lognormal]", TIMING, "protocol.rounds=1", "protocol.local_steps=1",
                        seed=seed).events)["t_end_s"].max() for seed in (0, 0, 1)]  # fmt: skip
    assert took[0] == took[1] != took[2]


def test_everyone_shares_one_backbone() -> None:
    """A client is its samples, its batches and its cut; weights exist once."""
    _, world = world_of("protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 1}")
    assert {client.parts for client in world.split_clients} == {world.split_clients[0].parts}
    assert world.pool.name == "cloud"
    assert not any(hasattr(client, "model") for client in world.clients)


def test_timing_only_loads_no_weights() -> None:
    _, world = world_of(TIMING)
    assert world.model.backbone.outline
    assert not world.model.initial().ready


@pytest.mark.parametrize(("changes", "path", "message"), [
    (["backbone.lora.targets=[quary]"], "backbone.lora.targets", "valid: dense, key, query, value"),
    (["task.max_length=2"], "task.max_length", "no room for text beside the 2 special tokens"),
    (["task.max_length=513"], "task.max_length", "no positions beyond 512 tokens, got 513"),
    (["backbone={name: mine, weights: random}"], "backbone.name",
         "gives token ids up to 30521, but the backbone has embeddings for 99"),
    (["backbone={name: bare, weights: random}"], "backbone.name", "holds no vocabulary of a tokenizer"),
])  # fmt: skip
def test_what_adapters_and_tokens_need_is_found_without_weights(
    tmp_path: Path, changes: list[str], path: str, message: str
) -> None:
    minilm = Path(locate(BackboneOptions(name="minilm"), Context(Streams(0))).location or "")
    shape = json.loads((minilm / "config.json").read_text())
    for name in ("mine", "bare"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(shape | {"vocab_size": 99}))
    (tmp_path / "mine" / "tokenizer.json").write_bytes((minilm / "tokenizer.json").read_bytes())
    (fault,) = faults(*changes, folder=tmp_path)
    assert fault.path == path
    assert message in fault.message


def test_codec_chains_reach_the_wire() -> None:
    _, world = world_of("codec={activation: [ssop, int8], adapters: [float16]}", TIMING)
    kinds = {kind: [codec.kind for codec in chain] for kind, chain in world.pipeline.chains.items()}
    assert kinds == {"activation": ["ssop", "int8"], "gradient": ["ssop"], "adapters": ["float16"]}


def test_a_device_that_does_not_exist_here_is_a_fault() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ScenarioError, match=r"execution\.device: there is no CUDA device here; valid: cpu"):
        played("execution.device=cuda")
