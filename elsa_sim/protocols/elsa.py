"""ELSA: hierarchical split federated fine-tuning (arXiv:2601.13824).

Clients n = 1..N belong to edge servers k = 1..K. Part 1 (embeddings and the first p_n layers) and Part 3 (the last q_n
layers and the head) of a client's model are trained on the client, Part 2 on its edge server. Edge k aggregates every H
local steps, theta_k = sum_n w_n theta_n with w_n proportional to |D_n| t_n; the cloud every E edge rounds,
theta = sum_k w_k theta_k with w_k proportional to data times coherence, and broadcasts. Cuts may differ: adapters are averaged
per layer, wherever each client's copy of it lives.

The paper's: the three-part split, two-level aggregation, behaviour-aware clustering with trust, the dynamic split
(``split``), sketches and SS-OP on the wire (``codec``). Our reading: the edge keeps one copy of Part 2 per client between
edge aggregations, each client's optimizer moments stay where the part is trained, an edge server weighs as much as its
clients that took part, without any it sends nothing, and clients in quarantine go on training but weigh nothing until
they are trusted again. Each part can be left out: ``clustering: null``, ``trust: null``, ``split: fixed``, and the codecs.
Does not model: cuts that change during a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from ..base.choices import AnyOf
from ..base.errors import Fault
from ..base.registry import Items, Options
from ..base.units import MOST_COUNT
from ..learning.clustering.assign import Assigner
from ..learning.splits.pattern import StepPattern, u_shaped
from .aggregators import Aggregator
from .hierarchical import Hierarchical
from .local import SplitTrainer
from .profiling import ClientProfiler, ProbingOptions

if TYPE_CHECKING:
    from ..learning.tasks.base import Task
    from ..topology import Topology
    from ..world.world import Verb, World


class TrustOptions(Options):
    """Trust in clients by what they say about public probe texts, and by what they send."""

    judges: Items[tuple[Literal["answers", "updates"], ...]] = Field(("answers", "updates"), min_length=1)
    """What trust is judged by: answers to probes, at every probing, or the changes that clients send (``updates``), whenever
    an edge server aggregates. A client weighs its samples times both."""
    threshold: float = Field(0.6, ge=0.0, le=1.0)
    """Clients with less than this share of the median trust in answers, or of the best score of updates, are in quarantine
    until they are judged better again."""
    consistency: Literal["centred", "predictions", "similarity"] = "centred"
    """What has to agree: predicted distributions without or with each client's class prior, or, for clients with different
    label spaces, which probes are alike."""

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if "answers" not in self.judges and "consistency" in self.model_fields_set:
            raise ValueError("consistency is about answers, and judges leaves them out; leave it out, too")
        if len(set(self.judges)) < len(self.judges):
            raise ValueError("judges names one of them twice")
        return self


class Elsa(Hierarchical):
    """Three-part split training with edge and cloud aggregation (ELSA, arXiv:2601.13824)."""

    pattern: ClassVar[StepPattern] = u_shaped("edge")
    neutral: ClassVar[Mapping[str, Any] | None] = MappingProxyType({"clustering": None, "trust": None})
    messages: ClassVar[tuple[str, ...]] = ("probe", "fingerprint", "assignment")
    kind: Literal["elsa"] = "elsa"
    failover: Literal["next", "wait"] = "next"
    """Clients of an edge server that is away when a round of the cloud begins go to the next best one that they can reach
    without it (in a tree there is none), or wait."""
    clustering: Annotated[SerializeAsAny[Assigner] | None, AnyOf(Assigner)] = None
    """How clients are assigned to edge servers by their behaviour; without, to the nearest."""
    trust: TrustOptions | None = None
    """Trust weights and quarantine; without, all clients are trusted."""
    probing: ProbingOptions = ProbingOptions()
    """Probes and warm-up, for clustering and trust."""
    recluster_every: int = Field(5, ge=1, le=MOST_COUNT)
    """Rounds of the cloud from one probing, with clustering and trust, to the next; the first round begins with one."""

    @property
    def probes(self) -> bool:
        """Whether clients are probed."""
        return self.clustering is not None or (self.trust is not None and "answers" in self.trust.judges)

    def steps(self, clients: int) -> int:
        times = len(range(0, self.rounds, self.recluster_every)) if self.probes else 0
        return super().steps(clients) + times * self.probing.warm_up * clients

    def faults(self, topology: Topology, task: Task) -> Iterator[Fault]:
        if self.probes and task.public < self.probing.texts:
            message = (
                f"{self.probing.texts} probe texts are needed, task.public sets {task.public} apart; give as many there"
            )
            yield Fault("probing.texts", message)
        edges, clients = topology.names("edge"), topology.names("client")
        if self.clustering is not None and edges and clients:
            latency = topology.distances(clients, edges)
            for message in self.clustering.faults(latency):
                yield Fault("clustering", message)

    def selection_faults(self, clients: Mapping[str, str], cloud: str, *, timing: bool) -> Iterator[Fault]:
        yield from super().selection_faults(clients, cloud, timing=timing)
        if self.selection.unbiased and (self.trust is not None or self.clustering is not None):
            what = f"{self.selection.kind} weighs clients by their samples and probabilities"
            yield Fault("selection", f"{what}; trust and clustering would weigh them otherwise: leave them out")

    def aggregators(self, clients: Mapping[str, str], cloud: str) -> Iterator[Aggregator]:
        for each in super().aggregators(clients, cloud):
            if self.clustering is None or each.server == cloud:
                yield each
            else:  # how many an edge server will have is not known yet
                yield replace(each, members=self._at_most(min(len(clients), self.clustering.limit(len(clients)))))

    def notes(self, *, timing: bool) -> Iterator[str]:
        if timing and self.clustering is not None and self.clustering.looks:
            yield (f"clustering {self.clustering.kind} needs arithmetic: in timing mode clients go to the nearest edge "
                   "server within capacity and latency bound")  # fmt: skip

    def run(self, world: World) -> Verb:
        trainer = SplitTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        profiler = self._census(world, trainer) if self.probes else None
        judge = None
        if self.trust is not None and "updates" in self.trust.judges:
            from .judging import UpdateJudge

            judge = UpdateJudge(world, self.trust.threshold)
        every, failover = self.recluster_every, self.failover
        yield from self.play(world, trainer.train, profiler=profiler, judge=judge, every=every, failover=failover)

    def _census(self, world: World, trainer: SplitTrainer) -> ClientProfiler:
        trust = self.trust
        return ClientProfiler(
            world,
            trainer,
            self.probing,
            assigner=self.clustering,
            consistency=None if trust is None or "answers" not in trust.judges else trust.consistency,
            threshold=0.0 if trust is None else trust.threshold,
            wait=self.wait,
        )
