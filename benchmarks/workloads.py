"""The workloads of the training benchmarks, as scenarios of this program.

W: 20 clients, 3 rounds, all participate, 5 AdamW steps of batch 16, sequences up to 32 tokens, MiniLM with LoRA of
rank 8 on query and value, TREC. W-tiny: 200 clients, 2 steps of batch 8, a BERT of 2 layers of size 64. Both: FedAvg
with fresh optimizers each round, evaluation on all 500 test questions before the first and after each round.
"""

from __future__ import annotations

from typing import Any

from elsa_sim.scenario import model
from elsa_sim.scenario.document import Document
from elsa_sim.scenario.model import Loaded

MAX_LENGTH = 32
LORA = {"rank": 8, "alpha": 16, "targets": ["query", "value"]}
WORKLOADS: dict[str, dict[str, Any]] = {
    "W": {"clients": 20, "rounds": 3, "steps": 5, "batch": 16, "backbone": {"name": "minilm"}},
    "W-tiny": {"clients": 200, "rounds": 3, "steps": 2, "batch": 8,
               "backbone": {"name": "tiny-bert", "config": {"num_hidden_layers": 2}}},
}  # fmt: skip


def describe(name: str, changes: dict[str, int] | None = None) -> dict[str, Any]:
    """Sizes of a workload, some of them changed (--quick)."""
    return WORKLOADS[name] | (changes or {})


def load(sizes: dict[str, Any], *, protocol: str = "fedavg", network: bool = True, **execution: Any) -> Loaded:
    """A workload as a scenario: ``fedavg`` unsplit or ``elsa`` split in three parts, over a tree network or without.

    Without the network, links are ideal: each message takes its size over the bandwidth, whatever else is under way.
    """
    data: dict[str, Any] = {
        "name": "benchmark",
        "seed": 7,
        "protocol": {"kind": protocol, "rounds": sizes["rounds"], "local_steps": sizes["steps"], "lr": 2e-3,
                     "keep_optimizer": False, **({"edge_rounds": 1} if protocol == "elsa" else {})},
        "backbone": {**sizes["backbone"], "lora": LORA},
        "task": {"kind": "text_file", "train": "trec/train.txt", "test": "trec/test.txt", "format": "labelled_lines",
                 "encoding": "latin-1", "max_length": MAX_LENGTH, "batch_size": sizes["batch"]},
        "partition": "iid",
        "topology": {"kind": "tree", "clients": sizes["clients"], "edges": max(1, sizes["clients"] // 10),
                     "access": {"up": "20 Mbit/s", "down": "50 Mbit/s", "latency": "10 ms"},
                     "backhaul": {"up": "200 Mbit/s", "down": "200 Mbit/s", "latency": "5 ms"}},
        "network": {"model": "max-min" if network else "ideal"},
        "execution": execution,
    }  # fmt: skip
    return model.validated(Document("benchmark", data))
