"""What `check` says was understood: in words and units, from the plan and not from the text."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
from small_runs import HIDDEN, loaded

from elsa_sim.run import checks, understood
from elsa_sim.run.understood_network import stated
from elsa_sim.wireless import WirelessOptions


def told(*changes: str) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name, text in understood.rows(checks.check(loaded(*changes))):
        found[name].append(text)
    return dict(found)


def test_protocol_and_backbone() -> None:
    said = told()
    assert said["protocol"] == ["elsa: 2 rounds of 2 edge rounds of 2 local steps, learning rate 0.005"]
    (text,) = said["backbone"]
    # 3 layers: per layer A and B of query and value, 2 x 2 x (32 + 32); head of 3 classes 32 x 3 + 3
    assert text.startswith("tiny-bert: 3 layers, hidden size 32, ")
    assert text.endswith(
        f"LoRA of rank 2 on query, value: {3 * 2 * 2 * (32 + 32) + 99} parameters trained with the head"
    ), text


def test_links_in_units_also_where_numbers_were_bare() -> None:
    said = told("topology.access.latency=20", "topology.access.up=10", "topology.overrides={client1: {down: 8000000}}")
    assert said["links of clients"] == ["3: up 10 bit/s, down 8 Mbit/s to 40 Mbit/s, latency 20 s"]
    assert said["other links"] == ["2: up 200 Mbit/s, down 100 Mbit/s, latency 5 ms"]
    notes = " ".join(said["note"])
    assert "takes 20 s one way; a bare number is in s, so write '20 ms'" in notes
    assert "carries 10 bit/s; a bare number is in bit/s, so write '10 Mbit/s'" in notes
    assert "note" not in told()


def test_devices_say_which_speed_counts_and_what_share_of_a_peak_it_is() -> None:
    said = told(
        "devices.client={profile: jetson-orin-nx-8gb}",
        "devices.edge={speed: {float32: 2 GFLOP/s, bfloat16: 9 GFLOP/s}}",
        "devices.cloud={profile: nvidia-t4, speed: 1 TFLOP/s}",
        "devices.overrides={client1: {profile: raspberry-pi-4, memory: 8 GB}}",
    )
    assert said["client devices"] == [
        "12 GFLOP/s to 471 GFLOP/s in float32, memory 8 GB to 8.59 GB, 2.7 W to 4 W idle, 6.4 W to 20 W busy; "
        "2 as jetson-orin-nx-8gb: 30 % of a peak of 1.57 TFLOP/s, unverified; 1 as raspberry-pi-4: 25 % of a peak of 48 GFLOP/s"
    ]
    assert said["edge devices"][0].startswith("2 GFLOP/s in float32, memory ")
    assert said["cloud devices"][0].startswith("1 TFLOP/s in float32, memory ")
    assert "nvidia-t4" not in said["cloud devices"][0]  # its speed is not that of the profile


def test_what_varies_and_what_is_lost() -> None:
    changes = (
        "topology.access.profile=[[1, 2 Mbit/s], [2, 0]]",
        "topology.access.jitter=3 ms",
        "topology.access.loss=0.02",
    )
    (text,) = told(*changes)["links of clients"]
    assert "; 3 vary up from 0 bit/s to 2 Mbit/s over 2 s (profile or trace), then hold; jitter 3 ms; loss 2 %" in text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("topology.access.jitter=3 ms", "jitter"),
        ("codec={activation: [{kind: sketch, rows: 1, columns: 8}]}", "keys of codecs"),
        ("unreliable={share: 0.4}", "who misbehaves"),
        ("devices={client: {stragglers: [lognormal]}}", "slowdowns"),
        ("devices={client: {downtimes: [on_off]}}", "downtimes"),
        ("network.failures=[{links: all, mtbf: 100, mttr: 1}]", "failures of links"),
        (
            "topology={kind: waxman, clients: 3, edges: 2, routers: 4, access: {up: 1 Mbit/s}, core: {up: 1 Mbit/s}, "
            "backhaul: {up: 1 Mbit/s}}",
            "the network's shape",
        ),
    ],
)
def test_what_the_seed_decides(change: str, what: str) -> None:
    (without,), (text,) = told()["random, from the seed"], told(change)["random, from the seed"]
    assert what not in without
    assert what in text


def test_scripted_slowdowns_and_fixed_times_are_not_random() -> None:
    fixed = "devices={client: {stragglers: [{kind: throttling}], downtimes: [{kind: on_off, times: fixed}]}}"
    (text,) = told(fixed)["random, from the seed"]
    assert "slowdowns" not in text
    assert "downtimes" not in text


def test_a_chain_is_told_with_its_bytes_per_token() -> None:
    said = told("codec={activation: [{kind: sketch, rows: 3, columns: 4}], adapters: [float16]}")
    assert said["activation messages"] == [
        f"sketch (rows 3, columns 4): {4 * 3 * 4} B up and down per token, of {4 * HIDDEN} B"
    ]
    in_graph = told("codec={activation: [{kind: ssop, rank: 4}]}")["gradient messages"]
    assert in_graph[0].startswith("ssop (rank 4): ")  # the chain rule puts it there
    assert said["adapters messages"] == ["float16"]
    assert told()["activation messages"] == [f"no codec: {4 * HIDDEN} B up and down per token, of {4 * HIDDEN} B"]
    assert "activation messages" not in told("protocol={kind: fedavg}")


def test_who_aggregates_and_who_misbehaves() -> None:
    said = told("unreliable={clients: {client2: noise}}")
    assert said["misbehaving clients"] == ["1: client2 noise (noise added, noise_scale 1.0)"]
    assert said["aggregation"] == [
        "edge0: mean of up to 2 clients",
        "edge1: mean of up to 1 clients",
        "cloud: mean of up to 2 edge servers",
    ]
    assert told("protocol={kind: fedbuff, buffer: 3}")["aggregation"] == ["cloud: mean of up to 3 updates"]
    assert "aggregation" not in told("protocol={kind: centralized}")


def test_a_client_computes_less_where_the_model_is_cut() -> None:
    (cut,), (uncut,) = told()["a client computes"], told("protocol={kind: fedavg}")["a client computes"]
    step, memory = uncut.removeprefix("at most ").removesuffix(" of memory").split(" a step and ")
    assert cut.endswith(f"the whole model: {step}, {memory}")
    assert not cut.startswith(step)
    assert "a client computes" not in told("protocol={kind: centralized}")


def test_a_list_is_told_in_words() -> None:
    assert told("protocol.trust={judges: [answers]}", "protocol.probing={texts: 8}")["  with"] == [
        "trust (judges answers), probing (texts 8)"
    ]


def test_a_large_learning_rate_is_doubted() -> None:
    assert told("protocol.lr=5")["note"] == ["a learning rate of 5 is large for AdamW, which usually takes 1e-5 to 0.1"]


def test_texts_longer_than_a_backbone_was_made_for_are_doubted() -> None:
    """Rotary positions go on for ever; a model does not."""
    changes = [
        "backbone={name: tinyllama-1.1b, lora: {rank: 4}}",
        "task={kind: lengths, objective: causal_lm, length: 2048, batch_size: 1}",
        "execution.mode=timing",
        "devices={client: {memory: 64 GB}, edge: {memory: 64 GB}}",
    ]
    assert not any("tokens" in note for note in told(*changes).get("note", []))
    changes[1] = changes[1].replace("2048", "2049")
    (note,) = (note for note in told(*changes)["note"] if "tokens" in note)
    assert note == "texts have up to 2049 tokens, more than the 2048 that tinyllama-1.1b was made for"


def test_public_text_of_other_words_is_doubted(tmp_path: Path) -> None:
    """Every word is unknown to a vocabulary that has none of them: fits and attackers would see one token only."""
    texts = checks.check(loaded()).texts.train.texts
    for name, lines in (("same", texts[:40]), ("foreign", ["der Hund rennt"] * 40)):
        (tmp_path / name).write_text("\n".join(lines))
    assert "note" not in told("task.public=30", f"task.public_file={tmp_path / 'same'}")
    (note,) = told("task.public=30", f"task.public_file={tmp_path / 'foreign'}")["note"]
    assert "have 0 % of the words of the training texts" in note


def test_up_is_from_a_client_and_towards_the_cloud_however_a_file_writes_it(tmp_path: Path) -> None:
    """The file's ends, and with them its up and down, are the other way round in the second."""
    nodes = [{"name": name, "role": role} for name, role in (("c", "client"), ("e", "edge"), ("s", "cloud"))]
    straight = [{"u": "c", "v": "e", "up": 1e6, "down": 2e6, "profile": [[5, 3e6]], "profile_down": [[7, 4e6]]},
                {"u": "e", "v": "s", "up": 5e6, "down": 6e6}]  # fmt: skip
    turned = [{"u": "e", "v": "c", "up": 2e6, "down": 1e6, "profile": [[7, 4e6]], "profile_down": [[5, 3e6]]},
              {"u": "s", "v": "e", "up": 6e6, "down": 5e6}]  # fmt: skip
    for links in (straight, turned):
        (tmp_path / "net.json").write_text(json.dumps({"nodes": nodes, "links": links}))
        said = told(f"topology={{file: {tmp_path / 'net.json'}}}")
        (text,) = said["links of clients"]
        assert text.startswith("1: up 1 Mbit/s, down 2 Mbit/s, latency 1 ms; 1 vary up from 3 Mbit/s over 5 s")
        assert "; 1 vary down from 4 Mbit/s over 7 s" in text
        assert said["other links"] == ["1: up 5 Mbit/s, down 6 Mbit/s, latency 1 ms"]


def test_what_a_file_leaves_out_is_said(tmp_path: Path) -> None:
    nodes = [{"name": "c", "role": "client"}, {"name": "a", "lat": 0, "lon": 0}, {"name": "b", "lat": 1, "lon": 0}]
    links = [{"u": "c", "v": "a", "up": 1e6, "latency": 0.01}, {"u": "a", "v": "b"}, {"u": "c", "v": "b", "up": 1e6}]
    (tmp_path / "net.json").write_text(json.dumps({"nodes": nodes, "links": links}))
    assert told(f"topology={{file: {tmp_path / 'net.json'}}}")["note"] == [
        "roles that the file leaves out: a cloud, b edge",
        "1 of the file's 3 links have the bandwidth of core",
        "1 of the file's 3 links have the latency of the distance between their ends",
        "1 of the file's 3 links have the latency of core",
    ]


def test_who_takes_part() -> None:
    said = told("protocol={kind: hierfavg, selection: {kind: uniform, clients: 0.5, over_commit: 2}}")
    assert said["  who takes part"] == [
        "at most 2 of 2 clients, until 1 have arrived at edge0; at most 1 of 1 clients, until 1 have arrived at edge1"
    ]
    assert "who takes part" in said["random, from the seed"][0]
    assert "selection uniform" in said["  with"][0]
    assert "  who takes part" not in told("protocol={kind: fedavg}")
    assert "who takes part" not in told("protocol={kind: fedavg}")["random, from the seed"][0]


def test_options_are_told_with_their_units() -> None:
    given = {
        "area": ["500 m", "0.25 km"],
        "interval": "500 ms",
        "shadowing": "4 dB",
        "power": "23 dBm",
        "subchannels": 3,
    }
    told = stated(WirelessOptions.model_validate(given), {"bandwidth"})
    assert told == "area 500 m, 250 m, interval 500 ms, shadowing 4 dB, subchannels 3, power 199.5 mW"
