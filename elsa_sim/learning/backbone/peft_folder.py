"""Adapters as peft saves them, written and read: what was trained, and what of the frozen weights exists nowhere else.

``adapter_model.safetensors`` and ``adapter_config.json`` are what `PeftModel.save_pretrained` gives for LoRA with the class head
among ``modules_to_save``. Where frozen weights were drawn from the seed, they are part of the result: a backbone that is random
throughout is saved whole beside the adapters (``backbone/``, with its tokenizer, as `from_pretrained` loads it), and a pooler
that the checkpoint lacked goes among ``modules_to_save``, so that peft puts it in its place. Values are safetensors, never pickle.

Does not model: what layers were told not to read (`unread`), which is no tensor of the model.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from ...base.writing import replacing, write_text
from .adapters import PEFT, VALUES, outside
from .model import Backbone, factory
from .options import ADAPTER_CONFIG, LoraOptions
from .quantized import dense_state

_FORMAT = {"format": "pt"}


class PeftFolder:
    """Writes the adapters of a backbone into folders; ``base`` is the name or path of its checkpoint, if it has one."""

    def __init__(self, backbone: Backbone, lora: LoraOptions, base: str | None) -> None:
        self.backbone, self.lora, self.base = backbone, lora, base
        pooled = {name.rpartition(".pooler.")[0] for name in backbone.drawn if ".pooler." in name}
        #: Frozen modules that go among those that peft saves in full.
        self.fresh: tuple[str, ...] = () if backbone.random else tuple(f"{name}.pooler" for name in sorted(pooled))

    def save(self, adapters: Mapping[str, Tensor], folder: Path) -> None:
        """Write ``adapters`` (names and shapes of `Backbone.specs`) into ``folder``; each file is whole or the one before.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        own = dict(self.backbone.model.named_parameters())
        frozen = {name: own[name] for name in self.backbone.drawn if name.startswith(self.fresh)} if self.fresh else {}
        state = {self._inside(name): tensor for name, tensor in {**adapters, **frozen}.items()}
        found = get_peft_model_state_dict(self._outline, state_dict=state, save_embedding_layers=False)
        values = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
        if not (folder / ADAPTER_CONFIG).exists():
            write_text(folder / ADAPTER_CONFIG, self._settings)
        with replacing(folder / VALUES) as partial:
            save_file(values, partial, metadata=_FORMAT)

    def save_backbone(self, folder: Path, tokenizer: Any, labels: Sequence[str] = ()) -> None:
        """Write the frozen weights with their configuration and tokenizer into ``folder``, as `from_pretrained` loads them.

        The class head there is the one that training started from; ``labels`` name its classes.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        model, config = self.backbone.model, copy.deepcopy(self.backbone.family.config)
        config.architectures = [type(model).__name__]
        if self.backbone.objective == "classification" and len(labels) == config.num_labels:
            config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        values, seen = dict[str, Tensor](), set[int]()
        for name, tensor in dense_state(model).items():
            if ".lora_" not in name and tensor.data_ptr() not in seen:  # tied weights are told by the configuration
                seen.add(tensor.data_ptr())
                values[outside(name)] = tensor.detach().cpu().contiguous()
        with replacing(folder / "model.safetensors") as partial:
            save_file(values, partial, metadata=_FORMAT)

    def _inside(self, name: str) -> str:
        """The name of a tensor of the backbone in peft's model."""
        if ".lora_" in name:
            return f"{PEFT}{name}"
        whole = (*self.backbone.family.classifier, *self.fresh)
        module = next(each for each in whole if name.startswith(f"{each}."))
        return f"{PEFT}{module}.modules_to_save.default{name.removeprefix(module)}"

    @cached_property
    def _outline(self) -> Any:
        """The model with adapters as peft makes it, without values."""
        backbone, lora = self.backbone, self.lora
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names that it will drop
            base = factory(backbone.objective).from_config(
                copy.deepcopy(backbone.family.config),
                dtype=torch.float32,
                attn_implementation=backbone.family.attention,
            )
            config = LoraConfig(
                task_type="SEQ_CLS" if backbone.objective == "classification" else "CAUSAL_LM",
                r=lora.rank,
                lora_alpha=lora.alpha,
                lora_dropout=0.0,
                target_modules=self._targets(base),
                modules_to_save=self._saved,
                fan_in_fan_out=backbone.family.transposed,
                base_model_name_or_path=self.base,
            )
            return get_peft_model(base, config)

    @property
    def _saved(self) -> list[str] | None:
        if self.backbone.objective != "classification":
            return None
        return [*self.backbone.family.classifier, *(name.rpartition(".")[2] for name in self.fresh)]

    def _targets(self, base: nn.Module) -> list[str]:
        """The adapted modules by their last names, unless others have these, too."""
        ours = [name.partition(".lora_A.")[0] for name in self.backbone.specs if ".lora_A." in name]
        short = sorted({name.rpartition(".")[2] for name in ours})
        hit = {name for name, _ in base.named_modules() if name.rpartition(".")[2] in short}
        return short if hit == set(ours) else ours

    @cached_property
    def _settings(self) -> str:
        """adapter_config.json, the same at every time: peft writes sets in no order, and some modules twice."""
        with TemporaryDirectory() as folder:
            self._outline.peft_config["default"].save_pretrained(folder, inference_mode=True)
            fields = json.loads((Path(folder) / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        fields |= {"inference_mode": True, "base_model_name_or_path": self.base, "modules_to_save": self._saved}
        if isinstance(fields["target_modules"], list):
            fields["target_modules"].sort()
        return json.dumps(fields, indent=2, sort_keys=True) + "\n"
