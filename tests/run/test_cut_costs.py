"""FLOPs and memory of a client at every cut: against the parts' closed forms, and against sums written out here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small_runs import TEXT, loaded
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputError
from elsa_sim.base.streams import Streams
from elsa_sim.cli import commands
from elsa_sim.learning.backbone.flops import pass_flops, update_flops
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, locate
from elsa_sim.learning.splits.pattern import head_at, u_shaped
from elsa_sim.run import checks
from elsa_sim.run.cut_costs import CutCost, every_cut, of_plan, whole_model

GIGA, MIB = 1e9, 2**20
#: GPT-2 (small): 12 layers of D = 768, I = 3072, 50,257 tokens, tied; LoRA of rank 4 on c_attn; batches of 16 x 64.
D, I, VOCABULARY, RANK, LAYERS, ROWS, WIDTH = 768, 3072, 50_257, 4, 12, 16, 64
TOKENS = ROWS * WIDTH
SHAPE = {"n_embd": D, "n_layer": LAYERS, "n_head": 12, "n_inner": I, "n_positions": 1024, "vocab_size": VOCABULARY}
LORA = LoraOptions(rank=RANK, alpha=8, targets=("c_attn",))


def outline(
    name: str, config: dict[str, int], lora: LoraOptions, causal_lm: bool, labels: int, vocabulary: int
) -> Outline:
    options = BackboneOptions(name=name, config=config, lora=lora)
    source = locate(options, Context(Streams(0)))
    return Outline.of(source, lora, causal_lm=causal_lm, labels=labels, vocabulary=vocabulary)


def gpt2() -> Outline:
    return outline("tiny-gpt2", dict(SHAPE), LORA, True, 2, VOCABULARY)


def minilm() -> Outline:
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    lora = LoraOptions(rank=8, alpha=16, targets=("query", "value"))
    return outline("tiny-bert", shape, lora, False, 6, 30_522)


def shares(cost: CutCost, model: CutCost) -> tuple[int, int]:
    return round(100 * cost.flops / model.flops), round(100 * cost.memory / model.memory)


def test_gpt2_by_hand() -> None:
    """The sums of a model of GPT-2's size, written out: frozen products, attention, adapters, head, and what each takes."""
    linear = D * 3 * D + D * D + D * I + I * D
    product = 2 * WIDTH * D  # per token, of the two of attention
    forward = 2 * linear + 2 * product + 2 * RANK * (D + 3 * D)
    backward = 2 * linear + 4 * product + 2 * RANK * 2 * (D + 3 * D)
    lowest = backward - 2 * D * 3 * D - 2 * RANK * D  # nothing below the first layer waits for a gradient
    adapters = RANK * (D + 3 * D)
    update, head = 14 * adapters, 2 * 2 * D * VOCABULARY * TOKENS
    weights = linear + 3 * D + D + I + D + 4 * D  # biases, and two norms
    embeddings = VOCABULARY * D + 1024 * D
    kept = 4 * D + 2 * D + 4 * I  # of attention, of norms, around the activation function
    kept += D + RANK + WIDTH + 12  # of adapters; the mask, and a sum per head

    model = whole_model(gpt2(), ROWS, WIDTH)
    assert model.flops == TOKENS * (LAYERS * forward + 11 * backward + lowest) + LAYERS * update + head
    frozen, trained = LAYERS * weights + embeddings + 2 * D, LAYERS * adapters
    assert model.memory == 4 * frozen + 16 * trained + 4 * TOKENS * (
        LAYERS * kept + VOCABULARY
    )  # a norm less below, one more above
    assert (round(model.flops / GIGA), round(model.memory / MIB)) == (511, 1505)
    costs = {cost.p: cost for cost in every_cut(gpt2(), head_at("cloud"), ROWS, WIDTH)}
    assert list(costs) == list(range(1, LAYERS))
    assert all(cost.q == 0 for cost in costs.values())
    for p, cost in costs.items():
        assert cost.flops == TOKENS * (p * forward + (p - 1) * backward + lowest) + p * update
        assert cost.memory == 4 * (p * weights + embeddings) + 16 * p * adapters + 4 * TOKENS * (p * kept - D)
    assert (round(costs[1].flops / GIGA), round(costs[1].memory / MIB)) == (26, 244)
    assert shares(costs[1], model) == (5, 16)
    assert (round(costs[11].flops / GIGA), shares(costs[11], model)[0]) == (323, 63)


def test_minilm_with_two_cuts() -> None:
    model = whole_model(minilm(), 4, 32)
    costs = every_cut(minilm(), u_shaped("edge"), 4, 32)
    assert [(cost.p, cost.q) for cost in costs] == [(p, q) for q in range(1, 5) for p in range(1, 6 - q)]
    assert shares(costs[0], model) == (32, 64)
    pattern = u_shaped("edge")
    for cost in costs:  # what the server does is what is missing
        server = pattern.held(pattern.divide(6, cost.p, cost.q), "server")
        work = sum(pass_flops(minilm(), part, "learn", 4, 32) for part in server)
        assert cost.flops + work + update_flops(minilm(), server) == pytest.approx(model.flops, rel=1e-12)
        arriving = 2 * 4 * 32 * (4 * 384 + 32)  # states and their places, at two cuts
        assert cost.memory + minilm().training(server, 4, 32).total() == model.memory + arriving


def test_a_protocol_that_does_not_cut_has_no_table() -> None:
    model, costs = of_plan(checks.check(loaded()))
    assert [(cost.p, cost.q) for cost in costs] == [(1, 1)]
    assert costs[0].flops < model.flops
    with pytest.raises(InputError, match="--cuts: protocol 'fedavg' does not cut the model"):
        of_plan(checks.check(loaded("protocol={kind: fedavg}")))


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["elsa-sim", "check", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        commands.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_the_command_prints_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, with a folder that has GPT-2's configuration and a tokenizer of as many tokens."""
    (tmp_path / "small.yaml").write_text(TEXT, encoding="utf-8")
    gpt = tmp_path / "gpt2"
    gpt.mkdir()
    (gpt / "config.json").write_text(json.dumps({"model_type": "gpt2", **SHAPE}))
    words = {"<|endoftext|>": 0, **{f"w{i}": i for i in range(1, VOCABULARY)}}
    Tokenizer(WordLevel(words, unk_token="<|endoftext|>")).save(str(gpt / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (gpt / "tokenizer_config.json").write_text(json.dumps(names))
    changes = (
        "backbone={name: gpt2, weights: random, lora: {rank: 4, alpha: 8, targets: [c_attn]}}",
        "protocol={kind: sflllm, rounds: 1, local_steps: 1}", "devices={}",
        f"task={{kind: synthetic, objective: causal_lm, max_length: {WIDTH}, batch_size: {ROWS}}}",
    )  # fmt: skip
    given = [word for change in changes for word in ("--set", change)]
    status, out, err = said(capsys, monkeypatch, tmp_path / "small.yaml", "--cuts", *given)
    assert status == 0, err
    rows = [line.split() for line in out.partition("at every cut")[2].splitlines()[2:] if line.strip()]
    assert rows[0] == ["all", "510.5", "GFLOP", "1.578", "GB"]
    assert rows[1] == ["1", "26.04", "GFLOP", "5", "%", "255.6", "MB", "16", "%"]
    assert rows[11] == ["11", "322.7", "GFLOP", "63", "%", "1.268", "GB", "80", "%"]
    assert len(rows) == LAYERS
    assert "at every cut" not in said(capsys, monkeypatch, tmp_path / "small.yaml")[1]
    status, out, err = said(capsys, monkeypatch, tmp_path / "small.yaml", "--cuts", "--set", "protocol={kind: fedavg}")
    assert (status, "does not cut the model" in err) == (2, True)
