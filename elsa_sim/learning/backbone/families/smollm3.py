"""SmolLM3. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import Any, ClassVar

from .llama import COMMON, Llama


class SmolLM3(Llama):
    """SmolLM3 (Hugging Face, 2025): layers without positions among those with rotary ones (Yang et al., arXiv:2501.18795)."""

    model_type = "smollm3"
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
        "num_key_value_heads": 4, "max_position_embeddings": 32768, "pad_token_id": 128004, "bos_token_id": 128000,
        "eos_token_id": 128001, "use_sliding_window": False, "sliding_window": None, "no_rope_layers": None,
        "no_rope_layer_interval": 4, "layer_types": None, "attention_bias": False, "mlp_bias": False,
        "tie_word_embeddings": True,
    }  # fmt: skip
    whole_heads = False
