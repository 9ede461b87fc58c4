"""Trained inversion: a small decoder from the payloads of a text to its tokens, trained on public text.

The attacker runs public text through the backbone and the codecs it knows, and trains a transformer of one layer with
positions to tell the token of each payload, from the whole text's payloads. Tokens it can tell are those of public text.

Our reading of "a decoder trained on public text from wire payload to tokens"; does not capture: larger decoders,
pretrained language models, beam search.
Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH = 32
HEADS = 4


class Decoder(nn.Module):
    """Payloads ``[B, T, D]`` with a mask of the valid ``[B, T]`` to logits ``[B, T, C]``."""

    def __init__(self, width: int, inner: int, classes: int, longest: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, inner)
        self.place = nn.Embedding(longest, inner)
        heads = HEADS if inner % HEADS == 0 else 1
        self.mix = nn.TransformerEncoderLayer(inner, heads, 2 * inner, dropout=0.1, batch_first=True, norm_first=True)
        self.leave = nn.Linear(inner, classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Logits."""
        entered = self.enter(x) + self.place(torch.arange(x.shape[1], device=x.device))
        logits: Tensor = self.leave(self.mix(entered, src_key_padding_mask=~valid))
        return logits


def padded(rows: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``[n, ...]`` of texts as ``[texts, longest, ...]``, zeros at padding, and a mask of the valid."""
    parts = list(torch.split(rows, torch.unique_consecutive(texts, return_counts=True)[1].tolist()))
    valid = nn.utils.rnn.pad_sequence([torch.ones(len(p), dtype=torch.bool) for p in parts], batch_first=True)
    return nn.utils.rnn.pad_sequence(parts, batch_first=True), valid


def invert(
    public: Tensor, tokens: Tensor, texts: Tensor, private: Tensor, private_texts: Tensor,
    *, steps: int, width: int, lr: float, seed: int,
) -> Tensor:  # fmt: skip
    """Tokens ``[n]`` of ``private`` payloads ``[n, D]``, told by a decoder trained on ``public`` ones ``[m, D]``.

    ``texts`` and ``private_texts`` number the text of each row; rows of a text stand together. No global random state
    is used.
    """
    classes, target = torch.unique(tokens, return_inverse=True)
    mean, scale = public.mean(dim=0), public.std(dim=0, correction=0).mean().clamp(min=1e-12)
    x, valid = padded(((public - mean) / scale).float(), texts)
    y, _ = padded(target, texts)
    z, seen = padded(((private - mean) / scale).float(), private_texts)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        net = Decoder(x.shape[2], width, len(classes), max(x.shape[1], z.shape[1]))
        optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
        for _ in range(steps):
            chosen = torch.randint(len(x), (BATCH,))
            mask = valid[chosen]
            loss = nn.functional.cross_entropy(net(x[chosen], mask)[mask], y[chosen][mask])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            falling.step()
        net.eval()
    with torch.no_grad():
        guesses = [net(z[i : i + 256], seen[i : i + 256]).argmax(-1)[seen[i : i + 256]] for i in range(0, len(z), 256)]
    told: Tensor = classes[torch.cat(guesses)]
    return told
