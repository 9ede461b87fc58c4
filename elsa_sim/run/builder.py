"""From a plan to its world: weights loaded, texts tokenised, nodes and links in simulated time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..base.errors import Fault, InputFaults, ScenarioError
from ..base.streams import Streams
from ..scenario.model import Loaded, Scenario
from .checks import Plan
from .cost_inputs import set_demands

if TYPE_CHECKING:
    from torch import Tensor

    from ..learning.backbone.model import Backbone
    from ..learning.execution.executor import Executor
    from ..learning.execution.journal import Journal
    from ..learning.execution.work import Ref
    from ..learning.tasks.base import Dataset, Split
    from ..learning.training.model import Model
    from ..results.event_table import Recorder
    from ..world.client import Client
    from ..world.codec_pipeline import CodecPipeline
    from ..world.progress import Observer
    from ..world.round_end import RoundObserver
    from ..world.world import World


def _server(plan: Plan) -> Callable[[Client], str] | None:
    """Where Part 2 of a client runs."""
    cloud, where = plan.topology.cloud, plan.scenario.protocol.pattern.server
    return None if plan.cuts is None else (lambda client: client.edge if where == "edge" else cloud)


def _as_held(data: Dataset, held: Mapping[str, npt.NDArray[np.int64]], plan: Plan) -> Split:
    """The training samples with the labels that clients hold: some misbehaving clients hold others than they should."""
    wrong = {name: behaviour for name, behaviour in plan.unreliable.items() if behaviour.relabels}
    if data.train.labels is None or not wrong:
        return data.train
    labels = data.train.labels.copy()
    for name, behaviour in wrong.items():
        rng = plan.context.streams.numpy(*behaviour.label_stream(name))
        labels[held[name]] = behaviour.labels(labels[held[name]], len(data.labels), rng)
    return replace(data.train, labels=labels)


def _no_test(adapters: Ref, round: int) -> dict[str, float]:
    """Timing only: nothing to evaluate."""
    return {}


def _leave_unread(plan: Plan, backbone: Backbone, data: Dataset) -> None:
    """Have Part 2 not read the subspace that a codec turns, if it says so."""
    from ..codecs.public import fit
    from ..codecs.public_text import hidden
    from ..codecs.ssop import SSOP
    from ..learning.backbone.unread import leave_unread
    from ..learning.tasks.data import in_chunks
    from ..world.evaluation import TOKENS

    cuts = next(iter((plan.cuts or {}).values()), None)
    for codec in plan.scenario.codec.chains["activation"]:
        if isinstance(codec, SSOP) and codec.unread and cuts is not None:
            public = hidden(backbone, backbone.initial(), in_chunks(data.public, TOKENS, data.pad_id), cuts.p)
            directions = codec.chosen(partial(fit, public))
            leave_unread(backbone, directions, range(cuts.p, backbone.layers - cuts.q))


def _codec_pipeline(
    scenario: Scenario, streams: Streams, model: Model, data: Dataset, clients: Sequence[Client]
) -> CodecPipeline:
    """The codecs of a scenario, with the public text that some are fitted to."""
    from ..codecs.public_text import PublicText
    from ..learning.tasks.data import in_chunks
    from ..world.client import SplitClient
    from ..world.codec_pipeline import CodecPipeline
    from ..world.evaluation import TOKENS

    chains = scenario.codec.chains
    initial, public = model.initial(), None
    under = () if scenario.privacy is None else scenario.privacy.under
    if (
        any(codec.uses_public for chain in (*chains.values(), *under) for codec in chain)
        and initial.ready
        and scenario.task.public
    ):
        every = {codec.fitted_anew for codec in chains["activation"]}
        batches = in_chunks(data.public, TOKENS, data.pad_id)
        public = PublicText(model, batches, initial, [rounds for rounds in every if rounds is not None])
    named = {client.name: client for client in clients}

    def cuts(name: str) -> tuple[int, int] | None:
        client = named.get(name)
        return client.cuts if isinstance(client, SplitClient) else None

    known = initial if initial.ready else None
    return CodecPipeline(chains, streams, cuts=cuts, width=model.hidden, public=public, initial=known)


def _audit(
    plan: Plan, model: Model, pipeline: CodecPipeline, clients: Sequence[Client], data: Dataset, special: set[int]
) -> Callable[[Mapping[str, Tensor], int], list[dict[str, Any]]] | None:
    """The privacy measurement of a scenario, if it has one."""
    scenario, server = plan.scenario, _server(plan)
    if scenario.privacy is None or server is None:
        return None
    from ..privacy.audit import Audit
    from ..world.client import SplitClient

    streams, size = plan.context.streams, scenario.task.batch_size
    cut = [client for client in clients if isinstance(client, SplitClient)]
    return Audit(scenario.privacy, model, pipeline, cut, server, data, streams, special=special, batch_size=size)


def _blueprint(plan: Plan, data: Dataset) -> Model:
    """The shapes of the model and the costs of its passes, from its configuration alone."""
    from ..learning.backbone.blueprint import Blueprint
    from ..learning.backbone.flops import Formulas
    from ..learning.training.model import Model

    outline = plan.outline_with(data.vocab_size)
    return Model(Blueprint(outline), Formulas(outline))


def _built(plan: Plan, data: Dataset) -> Model:
    """The model with its weights, and what its passes cost.

    Raises:
        InputFaults: the weights cannot be loaded, or adapters have no place in the backbone.
    """
    from ..learning.backbone import model as backbones
    from ..learning.backbone.flops import Formulas
    from ..learning.training.model import Model

    scenario = plan.scenario
    backbone = backbones.build(
        scenario.backbone,
        plan.source,
        scenario.task.objective,
        labels=max(len(data.labels), 2),
        vocabulary=data.vocab_size,
        pad_id=data.pad_id,
        seed=plan.context.streams.integer("backbone"),
        half=scenario.execution.precision == "bfloat16",
    )
    return Model(backbone.to(scenario.execution.device), Formulas(plan.outline_with(data.vocab_size)))


def _executor(plan: Plan, model: Model, journal: Journal | None) -> Executor:
    from ..learning.execution.executor import EXECUTORS

    if plan.scenario.execution.mode == "timing":
        return EXECUTORS["timing"]()
    from ..learning.execution.distributed import executor

    return executor(plan.scenario.execution, model.backbone, journal)


def _need_cuda(loaded: Loaded) -> None:
    import torch

    if not torch.cuda.is_available():
        fault = Fault("device", "there is no CUDA device here; valid: cpu")
        raise ScenarioError(loaded.document.source, loaded.located([fault], "execution"))


def build(
    loaded: Loaded,
    plan: Plan,
    env: Any,
    recorder: Recorder,
    observer: Observer,
    observers: Iterable[RoundObserver] = (),
    *,
    journal: Journal | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> World:
    """The world of a plan: weights loaded, texts tokenised, nodes and links in simulated time.

    The ``observer`` is told of local steps, too; ``observers`` of the ends of rounds, after all others. The ``journal`` is that of
    its arithmetic; the ``clock`` tells the host time of the run (s).

    Raises:
        ScenarioError: the weights cannot be loaded, or adapters have no place in the backbone.
        InputError: a file changed since it was checked.
    """
    from ..devices import Device
    from ..learning.backbone.tokenizers import tokenizer_for
    from ..learning.misbehaviour.base import MisbehavingClient
    from ..learning.tasks.data import Batches, collate
    from ..learning.tasks.tokenising import tokenize
    from ..network import Network
    from ..wireless import Radio
    from ..world.client import Client, SplitClient
    from ..world.evaluation import Evaluation
    from ..world.progress import Progress
    from ..world.stopping import stopping_rules
    from ..world.world import Federation, Infrastructure, Instruments, World

    scenario, streams, timing = plan.scenario, plan.context.streams, plan.scenario.execution.mode == "timing"
    section = "backbone"
    try:
        if scenario.task.textless:
            tokenizer, data = None, scenario.task.counted(plan.texts, plan.outline.vocabulary)
        else:
            tokenizer = tokenizer_for(plan.source, scenario.task, plan.texts)
            section = "task"
            data = tokenize(plan.texts, tokenizer, scenario.task)
    except InputFaults as error:
        raise ScenarioError(loaded.document.source, loaded.located(error, section)) from None
    if scenario.execution.device == "cuda" and not timing:
        _need_cuda(loaded)
    try:
        model = _blueprint(plan, data) if timing else _built(plan, data)
    except InputFaults as error:
        raise ScenarioError(loaded.document.source, loaded.located(error, "backbone")) from None
    plan.context.inputs.settle()
    if not timing:
        _leave_unread(plan, model.backbone, data)
    executor = _executor(plan, model, journal)
    pattern = scenario.protocol.pattern
    size = scenario.task.batch_size
    names = plan.topology.names("client")
    data = replace(data, train=_as_held(data, dict(zip(names, plan.samples, strict=True)), plan))

    divided = cache(partial(pattern.divide, model.layers))

    def misbehaviour(name: str) -> MisbehavingClient | None:
        behaviour = plan.unreliable.get(name)
        return None if behaviour is None else MisbehavingClient(behaviour, name, streams)

    def client(index: int, name: str, samples: npt.NDArray[np.int64]) -> Client:
        rng = streams.numpy("batches", index)
        batches = Batches(data.train, samples, size, data.pad_id, rng, outlines=timing)
        held = (index, name, plan.edge_of.get(name, ""), samples, batches, misbehaviour(name))
        cut = (plan.cuts or {}).get(name)
        if cut is None:
            return Client(*held)
        return SplitClient(*held, pattern=pattern, parts=divided(cut.p, cut.q))

    clients = [client(i, name, samples) for i, (name, samples) in enumerate(zip(names, plan.samples, strict=True))]
    pool = client(0, plan.topology.cloud, np.arange(len(data.train), dtype=np.int64))
    pipeline = _codec_pipeline(scenario, streams, model, data, clients)
    network, radio = Network(env, plan.played, scenario.network, streams), None
    if plan.layout is not None and scenario.wireless is not None:
        radio = Radio(env, network, scenario.wireless, plan.layout, streams)
        set_demands(radio, plan.needs)
    devices = {name: Device(env, name, options, streams) for name, options in plan.devices.items()}
    evaluation = _no_test if timing else Evaluation(model, executor, pipeline, clients, _server(plan), data)
    public = lambda count: collate(data.public, np.arange(count), data.pad_id)  # noqa: E731
    audit = _audit(plan, model, pipeline, clients, data, set(tokenizer.all_special_ids if tokenizer else ()))
    return World(
        Infrastructure(env, plan.topology, network, devices, radio),
        Federation(clients, pool, model, executor, public, tokenizer),
        pipeline,
        Instruments(recorder, evaluation, audit),
        Progress(env, observer, scenario.protocol.steps(len(clients))),
        [*stopping_rules(scenario.stop, executor.read, clock), *observers],
    )
