"""Families: embeddings and every layer against the hidden states that Hugging Face reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CASES, CONFIGS, LAYERS, PAD, batch_of, small

from elsa_sim.learning.backbone.families import FAMILIES
from elsa_sim.learning.backbone.options import DECODERS, ENCODERS, Part
from elsa_sim.learning.training.reference import forward, pack_tokens

LENGTHS = [5, 2, 8]


def test_every_supported_family_is_known_and_tested() -> None:
    assert set(FAMILIES) == {*ENCODERS, *DECODERS} == set(CONFIGS)
    assert {name for name, family in FAMILIES.items() if family.causal} == set(DECODERS)


@pytest.mark.parametrize("family", CONFIGS)
def test_states_between_layers_are_those_of_hugging_face(tmp_path: Path, family: str) -> None:
    backbone = small(tmp_path, family)
    batch = batch_of(LENGTHS, PAD.get(family, 0))
    tokens = torch.from_numpy(batch.tokens)
    mask = torch.from_numpy((np.arange(8) < batch.lengths[:, None]).astype(np.int64))
    with torch.no_grad():
        reported = backbone.model(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    for p in range(LAYERS):  # decoders report the last state after their norm
        states, _ = forward(backbone, Part("part", 0, p, first=True), backbone.initial(), tokens, batch.lengths)
        torch.testing.assert_close(states, pack_tokens(reported[p], batch.lengths), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_logits_are_those_of_hugging_face(tmp_path: Path, family: str, objective: str) -> None:
    backbone = small(tmp_path, family, objective)
    batch = batch_of(LENGTHS, PAD.get(family, 0))
    tokens, lengths = torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
    mask = torch.from_numpy((np.arange(8) < batch.lengths[:, None]).astype(np.int64))
    with torch.no_grad():
        theirs = backbone.model(input_ids=tokens, attention_mask=mask).logits
        ours = backbone.forward(Part("all", 0, LAYERS, first=True, last=True), tokens, lengths)
    if objective == "causal_lm":
        ours, theirs = pack_tokens(ours, batch.lengths), pack_tokens(theirs, batch.lengths)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", DECODERS)
def test_a_text_that_ends_with_the_padding_token_is_pooled_at_its_end(tmp_path: Path, family: str) -> None:
    """Tokenizers without a padding token pad with the end of text, so the id alone does not tell where a text ends."""
    backbone = small(tmp_path, family)
    tokens, lengths = torch.tensor([[7, 9, 0, 0], [7, 9, 8, 11]]), torch.tensor([3, 4])
    part = Part("all", 0, LAYERS, first=True, last=True)
    longer, shorter = backbone.forward(part, tokens, lengths), backbone.forward(part, tokens, torch.tensor([2, 4]))
    alone = backbone.forward(part, tokens[:1, :3], lengths[:1])
    torch.testing.assert_close(longer[:1], alone, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(longer[0], shorter[0])
    assert torch.equal(longer[1], shorter[1])


@pytest.mark.parametrize("family", CONFIGS)
def test_masks_let_every_position_see_something_and_nothing_see_padding(tmp_path: Path, family: str) -> None:
    backbone = small(tmp_path, family)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    allowed = backbone.family.context(torch.zeros(2, 3, backbone.hidden), mask)["attention_mask"].expand(2, 1, 3, 3)
    assert allowed.any(-1).all(), "a row that sees nothing makes NaN"
    assert not allowed[0, 0, :, 2].any()
    for query in range(3):
        assert allowed[1, 0, query].tolist() == [not backbone.family.causal or key <= query for key in range(3)]


def test_windows_leave_no_position_without_a_key(tmp_path: Path) -> None:
    backbone, masks = small(tmp_path, "mistral", sliding_window=2), []
    for layer in backbone.family.layers:
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
        )
    tokens, lengths = torch.tensor([[5, 0, 0, 0, 0, 0], [5, 6, 7, 8, 9, 5]]), torch.tensor([1, 6])
    logits = backbone.forward(Part("all", 0, LAYERS, first=True, last=True), tokens, lengths)
    assert logits.isfinite().all()
    assert len(masks) == LAYERS
    assert all(mask.any(-1).all() for mask in masks)
