"""A run that is broken off and gone on with is the run that was not: event table, rounds, adapters, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from in_process import InProcess
from resumed import EVERY, assert_resumes, assert_same, killed_after
from small_runs import Interrupting, loaded, played, quick

from elsa_sim.base.errors import InputError
from elsa_sim.base.locks import Lock
from elsa_sim.base.registry import Component, discover
from elsa_sim.codecs.base import Codec
from elsa_sim.learning.aggregation.base import Aggregation
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.learning.misbehaviour.base import Misbehaviour
from elsa_sim.links import LinkModel
from elsa_sim.results.metrics import load
from elsa_sim.run import builder, resuming, simulation
from elsa_sim.run.checkpoint_files import found
from elsa_sim.transports import Transport

for package in ("learning.aggregation.rules", "learning.misbehaviour", "links", "transports"):
    discover(f"elsa_sim.{package}")
UNEVEN = "devices.overrides={client1: {slowdown: 2.7}, client2: {slowdown: 1.3}}"
SPLIT = "protocol={kind: fedbuff, clients: split, rounds: 5, local_steps: 2, lr: 5.0e-3, buffer: 1}"
CODECS = (
    "codec.activation=[{kind: ssop, rank: 4}, {kind: sketch, rows: 2, columns: 8}]",
    "codec.gradient=[{kind: sketch, rows: 2, columns: 8}]",
    "codec.adapters=[feedback, {kind: topk}]",
)
CASES = {
    "elsa with codecs, trust and feedback": (
        "protocol={kind: elsa, rounds: 3, local_steps: 1, edge_rounds: 2, recluster_every: 2}",
        *CODECS,
    ),
    "asynchronous": ("protocol={kind: fedasync, rounds: 5, local_steps: 2, lr: 5.0e-3}", UNEVEN),
    "split asynchronous and serial": (SPLIT, UNEVEN, *CODECS, "execution.executor=serial"),
    "split asynchronous with codecs": (SPLIT, UNEVEN, *CODECS),
    "split asynchronous": (SPLIT, UNEVEN),
    "split asynchronous with codecs and workers": (SPLIT, UNEVEN, *CODECS, "execution.workers=2"),
}


@pytest.mark.parametrize("case", CASES)
def test_from_every_checkpoint(case: str, tmp_path: Path) -> None:
    with patch.dict(POOLS, local=InProcess):
        assert len(assert_resumes(tmp_path, *CASES[case])) >= 3
    under_way = [each.state.arithmetic for each in found(tmp_path / "whole")]
    assert any(each.pending for each in under_way) == (case == "split asynchronous")
    assert any(each.again for each in under_way) == (case.startswith("split asynchronous "))


def members(family: type[Component], place: str, without: str = "") -> dict[str, str]:
    """A change for each member of a family; they are looked at in one run of fedavg each."""
    kinds = [kind for kind, member in family.members.items() if member.__module__.startswith("elsa_sim.")]
    return {f"{family.family} {kind}": place.replace("KIND", kind) for kind in kinds if kind != without}


FAMILIES = (
    members(Aggregation, "protocol.aggregation=KIND")
    | members(Misbehaviour, "unreliable={clients: {client1: KIND}, stale_uploads: 1}")
    | members(LinkModel, "network.model=KIND")
    | members(Transport, "network.transport=KIND")
)


@pytest.mark.parametrize("member", FAMILIES)
def test_with_every_member_of_other_families(member: str, tmp_path: Path) -> None:
    five = "topology.clients=5"
    assert_resumes(tmp_path, "protocol={kind: fedavg, rounds: 2, local_steps: 1}", five, FAMILIES[member], rounds=[1])


CHAINS = [
    "[sketch]",
    "[{kind: sketch, rows: 2, columns: 8, decoder: linear, refresh_every: 1}]",
    "[{kind: ssop, rank: 4, refresh_every: 2}, float16]",
    "[{kind: ssop, rank: full, refresh: round}, bfloat16]",
    "[{kind: ssop, rank: 6, subspace: public, key: server, refresh: message}, int8]",
    "[{kind: ssop, rank: 6, hides_from: wire}, {kind: quantize, dither: true}]",
    "[{kind: subspace, rank: 12, basis: semantic, gain: true, refresh_every: 1}, topk]",
    "[{kind: adaptive, bytes_per_token: 40}]",
    "[{kind: adaptive, error: 0.2, refresh_every: 1}]",
]


@pytest.mark.parametrize("chain", CHAINS)
def test_with_every_codec(chain: str, tmp_path: Path) -> None:
    protocol = "protocol={kind: fedasync, clients: split, rounds: 3, local_steps: 1}"
    assert_resumes(tmp_path, protocol, UNEVEN, f"codec.activation={chain}", rounds=[2])


def test_every_codec_is_here() -> None:
    discover("elsa_sim.codecs")
    kinds = {kind for kind, member in Codec.members.items() if member.__module__.startswith("elsa_sim.")}
    assert kinds == {kind for kind in kinds if any(kind in chain for chain in (*CHAINS, *CODECS))}


# Beyond the end, and what cannot be --------------------------------------------------------------------------------

FEDAVG = "protocol={kind: fedavg, rounds: ROUNDS, local_steps: 1}"


def of(rounds: int) -> str:
    return FEDAVG.replace("ROUNDS", str(rounds))


@pytest.mark.parametrize(
    ("changes", "longer"),
    [
        (["protocol.rounds=5"], (of(5),)),
        (["stop={rounds: 2}", "protocol.rounds=9"], (of(9), "stop={rounds: 2}")),
        (["protocol.rounds=4", "checkpoint={every: 3}"], (of(4), "checkpoint={every: 3}")),
    ],
)
def test_beyond_the_end_it_is_the_longer_run(changes: list[str], longer: tuple[str, ...], tmp_path: Path) -> None:
    played(of(2), EVERY, folder=tmp_path / "run")
    with quick():
        further = resuming.resume(tmp_path / "run", changes)
    whole = played(EVERY, *longer, folder=tmp_path / "whole")
    assert_same(further, whole)
    assert further.folder == tmp_path / "run"


def test_a_stop_that_was_met_can_be_moved(tmp_path: Path) -> None:
    first = played(of(4), "stop.target_accuracy=0.01", EVERY, folder=tmp_path / "run")
    assert len(first.rounds) == 1, "before training, even"
    with quick():
        further = resuming.resume(tmp_path / "run", ["stop={}"])
    assert_same(further, played(of(4), EVERY, folder=tmp_path / "whole"))


def test_without_a_checkpoint_it_is_played_anew(tmp_path: Path) -> None:
    whole = played(of(2), "checkpoint={every: 9}", folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 0)
    with quick():
        assert_same(resuming.resume(tmp_path / "again"), whole)


def test_timing_mode_is_played_anew(tmp_path: Path) -> None:
    whole = played(of(2), "execution.mode=timing", folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 0)
    with quick():
        assert resuming.resume(tmp_path / "again").summary["trace_sha256"] == whole.summary["trace_sha256"]


def test_an_interrupt_and_a_second_one(tmp_path: Path) -> None:
    whole = played(of(4), EVERY, folder=tmp_path / "whole")
    with quick():
        with pytest.raises(KeyboardInterrupt):
            simulation.run(loaded(of(4), EVERY), tmp_path / "run", Interrupting(5))
        with pytest.raises(KeyboardInterrupt):
            resuming.resume(tmp_path / "run", observer=Interrupting(8))
        assert max(each.round for each in found(tmp_path / "run")) == 2
        assert_same(resuming.resume(tmp_path / "run"), whole)


def test_interrupted_in_what_is_played_again_nothing_is_lost(tmp_path: Path) -> None:
    whole = played(of(3), EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 2)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with quick():
        with patch.object(builder, "build", interrupted), pytest.raises(KeyboardInterrupt):
            resuming.resume(tmp_path / "again")
        with pytest.raises(KeyboardInterrupt):
            resuming.resume(tmp_path / "again", observer=Interrupting(1))
        assert_same(resuming.resume(tmp_path / "again"), whole)


def test_what_cannot_be_built_loses_no_checkpoint(tmp_path: Path) -> None:
    whole = played(of(3), EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 2)
    with quick():
        with patch.object(builder, "build", side_effect=InputError("a file changed")), pytest.raises(InputError):
            resuming.resume(tmp_path / "again")
        assert [each.round for place in tmp_path.glob("again*") for each in found(place)] == [2, 1]
        assert_same(resuming.resume(tmp_path / "again"), whole)


def test_of_two_the_one_that_came_further(tmp_path: Path) -> None:
    """A killed attempt to go beyond the end beside the run that ended."""
    played(of(3), EVERY, folder=tmp_path / "run")
    whole = played(of(5), EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "run", 4)
    with quick():
        assert_same(resuming.resume(tmp_path / "run"), whole)
    assert not (tmp_path / "run.partial").exists()


def test_a_run_that_lacked_only_its_name(tmp_path: Path) -> None:
    whole, drawn = played(of(2), EVERY, folder=tmp_path / "whole"), list[Path]()
    shutil.copytree(tmp_path / "whole", tmp_path / "again.partial")
    again = resuming.resume(tmp_path / "again", then=lambda _, folder: drawn.append(folder))
    assert_same(again, whole)
    assert drawn == [tmp_path / "again.partial"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([], "has ended; to go beyond its end"),
        (["protocol.lr=0.1"], r"protocol\.lr was 0\.002, is 0\.1 \(only protocol\.rounds, stop and checkpoint"),
        (["seed=4", "protocol.rounds=9"], "seed was 0, is 4"),
        (["execution.workers=2"], r"execution\.workers was 1, is 2"),
        (["adapters.best=true"], r"adapters\.best was false, is true"),
        (["stop.adapter_change=0.1", "protocol.rounds=9"], r"stop\.adapter_change was null, is 0\.1"),
    ],
)
def test_what_cannot_be(changes: list[str], told: str, tmp_path: Path) -> None:
    played(of(2), EVERY, folder=tmp_path / "run")
    with pytest.raises(InputError, match=told):
        resuming.resume(tmp_path / "run", changes)


def test_an_end_before_the_checkpoints(tmp_path: Path) -> None:
    """It is played anew where no checkpoint comes before the end."""
    played(of(3), "checkpoint={every: 3}", folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 3)
    with quick():
        again = resuming.resume(tmp_path / "again", ["protocol.rounds=2"])
    assert_same(again, played(of(2), "checkpoint={every: 3}", folder=tmp_path / "short"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["protocol.rounds=2"], "after round 2"),
        (["stop.rounds=1", "protocol.rounds=9"], "after round 1"),
        (["stop.sim_time=1 ms"], r"after 0\.001 s"),
        (["stop.target_accuracy=0.01", "protocol.rounds=9"], "after round 0, at its accuracy"),
        (["stop.host_time=1 h"], "after 3600 s of this machine's time"),
    ],
)
def test_a_run_that_finished_makes_no_way_for_a_shorter_one(changes: list[str], told: str, tmp_path: Path) -> None:
    whole = played(of(3), EVERY, folder=tmp_path / "run")
    with (
        quick(),
        pytest.raises(InputError, match=rf"has ended after round 3 at .* s, and would end {told}; a shorter one"),
    ):
        resuming.resume(tmp_path / "run", changes)
    assert_same(load(tmp_path / "run"), whole)


@pytest.mark.parametrize(
    "change", ["protocol.rounds=3", "stop.rounds=3", "stop.sim_time=SIM_TIME", "stop.target_accuracy=TARGET"]
)
def test_an_end_before_what_was_played_has_the_adapters_of_that_end(change: str, tmp_path: Path) -> None:
    kept = "adapters={best: true, every: 1}"
    longer = played(of(6), kept, "checkpoint={every: 1, keep: 9}", folder=tmp_path / "longer").rounds
    change = change.replace("SIM_TIME", f"{longer['sim_time_s'][3] + 1e-6}").replace(
        "TARGET", f"{longer['accuracy'][3]}"
    )
    killed_after(tmp_path / "longer", tmp_path / "again", 6)
    with quick():
        again = resuming.resume(tmp_path / "again", [change])
    whole = played(of(6), kept, "checkpoint={every: 1, keep: 9}", change, folder=tmp_path / "whole")
    assert len(whole.rounds) <= 4
    assert_same(again, whole)


@pytest.mark.parametrize("name", ["nothing", "file.yaml", "empty"])
def test_where_no_run_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("protocol: {kind: fedavg}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no run was recorded there|is a file; to begin one: elsa-sim run"):
        resuming.resume(tmp_path / name)


def test_one_that_goes_on_elsewhere_is_left_alone(tmp_path: Path) -> None:
    played(of(2), EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 1)
    lock = Lock(tmp_path / "again.partial" / ".lock")
    with pytest.raises(InputError, match="another run"):
        resuming.resume(tmp_path / "again")
    lock.release()
