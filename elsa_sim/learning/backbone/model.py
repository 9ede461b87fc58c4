"""The frozen transformer, held once in memory for everyone, and the names and shapes of what is trained on it.

A client owns no model: it owns a mapping of names to tensors, its adapters. To compute, the mapping is swapped into the
one frozen backbone for the duration of the call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from ...base.errors import Fault, InputFaults
from ..execution.work import TensorSpec
from ..tasks.data import Batch
from .adapter_start import start_from
from .families import FAMILIES, Family
from .numbers import Numbers
from .options import DECODERS, BackboneOptions, Part, Source, adapted
from .precision import halve
from .quantized import quantize
from .rows import RowLinear, RowNorm
from .tensors import class_rows

Objective = Literal["classification", "causal_lm"]


class Backbone(nn.Module):
    """One frozen transformer with places for LoRA adapters; see :func:`build`."""

    def __init__(
        self,
        model: nn.Module,
        trainable: tuple[str, ...],
        objective: Objective,
        drawn: Collection[str] = (),
        recomputed: bool = False,
    ) -> None:
        """``trainable`` and ``drawn`` are names; ``recomputed``: of a layer only its input is kept for the backward pass."""
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.family: Family = FAMILIES[_model_type(model)](model)
        self.objective, self.recomputed = objective, recomputed
        self.layers = len(self.family.layers)
        self.hidden = int(self.family.config.hidden_size)
        parameters = dict(model.named_parameters())
        #: Names and shapes of everything that is trained, in model order.
        self.specs: dict[str, TensorSpec] = {n: TensorSpec(tuple(parameters[n].shape)) for n in trainable}
        #: Names of the frozen tensors that are in no checkpoint: drawn from the seed.
        self.drawn: tuple[str, ...] = tuple(name for name in parameters if name in drawn and name not in trainable)
        #: Whether that is all of them.
        self.random = len(self.drawn) + len(trainable) == len(parameters)
        self._names: dict[Part, tuple[str, ...]] = {}
        self._now: Mapping[str, Tensor] = {}
        #: Where each trained tensor is looked up: the parameters of its module, and its name there.
        self._places: dict[str, tuple[dict[str, Any], str]] = {}
        for name in trainable:
            module, _, leaf = name.rpartition(".")
            self._places[name] = (model.get_submodule(module)._parameters, leaf)

    @property
    def outline(self) -> bool:
        """Whether it has shapes only, on the meta device."""
        return any(parameter.is_meta for parameter in self.model.parameters())

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What its weights, and so all states and gradients, are made of."""
        return next(self.model.parameters()).dtype

    def tensor(self, source: Batch | Tensor) -> Tensor:
        """The token ids [B, T] of a batch, on this device; a tensor as it is."""
        return torch.from_numpy(source.tokens).to(self.device) if isinstance(source, Batch) else source

    def names(self, part: Part) -> tuple[str, ...]:
        """Names of the trained tensors that live in ``part``."""
        if part not in self._names:
            self._names[part] = tuple(name for name in self.specs if self._holds(part, name))
        return self._names[part]

    def bytes(self, part: Part) -> int:
        """Bytes of the frozen weights of ``part`` (tied weights count once per part)."""
        named = self.model.named_parameters(remove_duplicate=False)
        held = {id(p): p for name, p in named if name not in self.specs and self._holds(part, name)}
        scales = [t for name, t in self.model.named_buffers() if name.endswith(".scale") and self._holds(part, name)]
        return sum(t.numel() * t.element_size() for t in (*held.values(), *scales))

    def _holds(self, part: Part, name: str) -> bool:
        prefix = self.family.layer_prefix
        if name.startswith(prefix):
            return part.start <= int(name[len(prefix) :].split(".", 1)[0]) < part.stop
        top, shared = (
            tuple(f"{self.family.prefix}{each}." for each in some) for some in (self.family.tops, self.family.shares)
        )
        if name.startswith(shared):
            return part.start < part.stop
        embedding = name.startswith(self.family.prefix) and not name.startswith(top)
        return part.first if embedding else part.last

    def initial(self) -> dict[str, Tensor]:
        """The adapters and head everyone starts from."""
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name].detach().clone() for name in self.specs}

    def forward(self, part: Part, x: Tensor, lengths: Tensor) -> Tensor:
        """Run ``part`` on token ids [B, T] (if it has the embeddings) or hidden states [B, T, D].

        Trained tensors swapped in by :meth:`call` may have one more dimension in front: a tensor for each row [B, ...].

        Returns hidden states [B, T, D], or logits [B, C] (classification) or [B, T, V] if it has the head.
        """
        hidden = self.family.embed(x) if part.first else x
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        context = self.family.context(hidden, mask)
        for index in range(part.start, part.stop):
            hidden = self._layer(index, hidden, context)
        if not part.last:
            return hidden
        return (
            self.family.classify(hidden, lengths) if self.objective == "classification" else self.family.predict(hidden)
        )

    def call(self, parameters: Mapping[str, Tensor], part: Part, x: Tensor, lengths: Tensor) -> Tensor:
        """:meth:`forward` with ``parameters`` in the place of the tensors of those names; thread-unsafe, re-entrant."""
        with self._swapped(parameters):
            return self.forward(part, x, lengths)

    @contextmanager
    def _swapped(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        before = {name: self._places[name][0][self._places[name][1]] for name in parameters}
        outer, self._now = self._now, parameters
        try:
            for name, tensor in parameters.items():  # torch.func.functional_call walks all modules for it, every time
                held, key = self._places[name]
                held[key] = tensor
            yield
        finally:
            self._now = outer
            for name, tensor in before.items():
                held, key = self._places[name]
                held[key] = tensor

    def _layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        if not (self.recomputed and torch.is_grad_enabled()):
            return self.family.layer(index, hidden, context)
        parameters = self._now

        def again(states: Tensor) -> Tensor:
            with self._swapped(parameters):  # on the way back, others may be in their place
                return self.family.layer(index, states, context)

        with set_checkpoint_early_stop(False):  # a whole layer is computed again, as it is counted
            return checkpoint(again, hidden, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def build(
    options: BackboneOptions,
    source: Source,
    objective: Objective,
    *,
    labels: int,
    vocabulary: int,
    pad_id: int,
    seed: int,
    meta: bool = False,
    half: bool = False,
) -> Backbone:
    """Load (or randomly initialise) the transformer and make places for its adapters.

    ``meta`` builds shapes only. ``half`` has frozen linear layers multiply in bfloat16 (:mod:`.precision`).
    ``labels`` sizes the class head: one of another size in the checkpoint is not used, and a
    fresh one is drawn from ``seed``. ``vocabulary`` and ``pad_id`` are those of a built-in backbone, whose tokenizer is
    made for the task; the configuration of a checkpoint says where its positions begin, and is left as it is.

    Raises:
        InputFaults: no safetensors weights, or not all of them; a configuration that makes no model; an encoder asked
            for language modelling; adapters to start from that were trained on other frozen weights.
    """
    config = source.config
    if objective == "causal_lm" and config.model_type not in DECODERS:
        raise InputFaults(
            [Fault("name", f"{options.name!r} is an encoder; causal_lm needs one of {', '.join(DECODERS)}")]
        )
    if source.tokenizer is None:
        config.vocab_size, config.pad_token_id = vocabulary, pad_id
        for name in ("bos_token_id", "eos_token_id"):
            setattr(config, name, None)  # the configuration's defaults lie outside a small vocabulary
    if objective == "classification":
        config.num_labels = labels
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every accelerator, too
        model, missing = _model(factory(objective), config, options, source, meta)
        trainable = _inject(model, options, adapted(source.architecture, options.lora), meta)
    drawn = missing if source.location is not None else {name for name, _ in model.named_parameters()}
    for name in {name.rpartition(".")[0] for name in trainable}:
        module = model.get_submodule(name)
        module.__class__ = RowNorm if isinstance(module, nn.LayerNorm) else RowLinear
    _store(model, trainable, options.numbers)
    if source.adapters is not None and not meta:
        drawn |= set(start_from(model, source.adapters, FAMILIES[_model_type(model)].classifier))
    if half:
        halve(model, trainable)
    return Backbone(model, trainable, objective, drawn, options.numbers.recomputed)


def factory(objective: Objective) -> Any:
    """The class of transformers' that makes models for an objective."""
    return AutoModelForSequenceClassification if objective == "classification" else AutoModelForCausalLM


def _model(
    factory: Any, config: Any, options: BackboneOptions, source: Source, meta: bool
) -> tuple[nn.Module, set[str]]:
    """The model, and the names of its tensors that its checkpoint lacks."""
    location = None if meta else source.location
    common = {"attn_implementation": FAMILIES[config.model_type].attention, "dtype": torch.float32}
    try:
        if location is None:
            with torch.device("meta" if meta else "cpu"):
                return factory.from_config(config, **common), set()
        model, report = factory.from_pretrained(
            location,
            config=config,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # those of a head for other classes; the others are refused below
            **common,
        )
    except Exception as error:  # what a configuration or a file of weights can have wrong has no common class
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
        what = f"weights of {location!r} cannot be loaded from safetensors" if location else "cannot be built"
        raise InputFaults([Fault("config" if options.config else "name", f"{what}: {reason}")]) from None
    other = sorted(name for name, *_ in report["mismatched_keys"] if name not in class_rows(source.architecture))
    if other:
        message = f"weights of {location!r} have {len(other)} tensors of another shape, such as {other[0]}"
        raise InputFaults([Fault("name", message)])
    fresh = (*FAMILIES[config.model_type].classifier, f"{model.base_model_prefix}.pooler")
    lacking = sorted(n for n in report["missing_keys"] if not n.startswith(tuple(f"{part}." for part in fresh)))
    if lacking:  # transformers would leave them random
        message = f"weights of {location!r} lack {len(lacking)} tensors of the model, such as {lacking[0]}"
        raise InputFaults([Fault("name", message)])
    return model, set(report["missing_keys"])


def _store(model: nn.Module, trainable: Collection[str], numbers: Numbers) -> None:
    """Put the frozen weights into the form that ``numbers`` ask for; whole numbers and tables of rotations stay as they are."""
    family = FAMILIES[_model_type(model)](model)
    for name, parameter in model.named_parameters():
        if name not in trainable:
            parameter.data = parameter.data.to(getattr(torch, numbers.dtype))
    if numbers.quantize is not None:
        quantize(family.layers, numbers.quantize)


def _inject(model: nn.Module, options: BackboneOptions, targets: tuple[str, ...], meta: bool) -> tuple[str, ...]:
    lora, family = options.lora, FAMILIES[_model_type(model)]
    inner = [
        n for n, _ in model.named_modules() if n.rsplit(".", 1)[-1] in targets and f".{family.layer_path}." in f".{n}"
    ]
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=inner, lora_dropout=0.0,
                        fan_in_fan_out=family.transposed)  # fmt: skip
    with torch.device("meta") if meta else torch.device("cpu"):
        inject_adapter_in_model(config, model)
    return tuple(n for n, _ in model.named_parameters() if "lora_" in n or n.split(".", 1)[0] in family.classifier)


def _model_type(model: nn.Module) -> str:
    config: Any = model.config
    return str(config.model_type)
