"""Small integers packed into bytes, row by row: b bits each, most significant bit first.

Tested in tests/codecs/test_fewer_bytes.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.lazy import lazy

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


def width(count: int, bits: int) -> int:
    """Bytes of ``count`` numbers of ``bits`` bits."""
    return -(-count * bits // 8)


def pack_bits(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers ``[..., k]`` in [0, 2^bits) as bytes ``[..., width(k, bits)]``."""
    shifts = torch.arange(bits - 1, -1, -1, device=values.device)
    flat = ((values[..., None] >> shifts) & 1).flatten(-2)  # [..., k * bits]
    lacking = -flat.shape[-1] % 8
    flat = torch.nn.functional.pad(flat, (0, lacking))
    eights = flat.reshape(*flat.shape[:-1], flat.shape[-1] // 8, 8)
    made: torch.Tensor = (eights << torch.arange(7, -1, -1, device=values.device)).sum(-1).to(torch.uint8)
    return made


def unpack_bits(packed: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """The integers ``[..., count]`` (int64) that :func:`pack` packed."""
    flat = ((packed.long()[..., None] >> torch.arange(7, -1, -1, device=packed.device)) & 1).flatten(-2)
    each = flat[..., : count * bits].reshape(*flat.shape[:-1], count, bits)
    made: torch.Tensor = (each << torch.arange(bits - 1, -1, -1, device=packed.device)).sum(-1)
    return made
