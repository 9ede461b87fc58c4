"""The codec section: chains by kind of message, for whatever kinds a protocol sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from small_runs import framed, played, transfers

from elsa_sim.base.errors import Fault, ScenarioError
from elsa_sim.codecs.cast import Float16
from elsa_sim.codecs.int8 import Int8
from elsa_sim.learning.splits.pattern import Crossing
from elsa_sim.protocols.elsa import Elsa
from elsa_sim.scenario.codec_options import CodecOptions
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.dump import dump
from elsa_sim.scenario.model import Loaded, Scenario, examine, validated


def loaded(text: str, *changes: str) -> Loaded:
    return validated(parse(text), changes)


def faults(text: str, *changes: str) -> list[Fault]:
    with pytest.raises(ScenarioError) as caught:
        loaded(text, *changes)
    return list(caught.value.faults)


def test_chains_are_a_mapping() -> None:
    made = loaded("protocol: elsa\ncodec: {gradient: [float16, int8], fingerprint: float16}").scenario
    kinds = {kind: [codec.kind for codec in chain] for kind, chain in made.codec.chains.items()}
    assert kinds == {"activation": [], "gradient": ["float16", "int8"], "adapters": [], "fingerprint": ["float16"]}


@pytest.mark.parametrize(
    ("protocol", "sent"),
    [("elsa", {"activation", "gradient", "adapters"}), ("sflllm", {"activation", "gradient", "adapters"}),
     ("fedavg", {"adapters"}), ("centralized", set())],
)  # fmt: skip
def test_only_what_a_protocol_sends_may_have_codecs(protocol: str, sent: set[str]) -> None:
    every = {"activation", "gradient", "adapters"}
    chains = ", ".join(f"{kind}: float16" for kind in sorted(sent))
    made = loaded(f"protocol: {protocol}\ncodec: {{{chains}}}").scenario.codec.chains
    assert made == {kind: (Float16(),) if kind in sent else () for kind in every}
    text = f"protocol: {protocol}\ncodec: {{{', '.join(f'{kind}: float16' for kind in sorted(every))}}}"
    found = faults(text) if sent < every else []
    assert {fault.path for fault in found} == {f"codec.{kind}" for kind in every - sent}
    empty = loaded(f"protocol: {protocol}\ncodec: {{activation: [], adapters: []}}")
    assert not any(empty.scenario.codec.chains.values())


def test_a_kind_that_is_not_sent_is_a_fault_with_its_line() -> None:
    text = "protocol: elsa\ncodec:\n  activation: float16\n  fingerprnt: [float16]\n"
    (fault,) = faults(text)
    assert (fault.path, fault.line) == ("codec.fingerprnt", 4)
    assert fault.message == (
        "unknown key 'fingerprnt'; did you mean 'fingerprint'? valid: activation, gradient, adapters, probe, fingerprint, "
        "assignment; protocol 'elsa' does not send it"
    )
    (fault,) = faults("protocol: fedavg", "codec.fingerprint=[float16]")
    assert fault.path == "codec.fingerprint"
    assert "valid: activation, gradient, adapters; protocol 'fedavg' does not send it" in fault.message
    assert fault.message.endswith("(from --set 'codec.fingerprint=[float16]')")


def test_a_fault_comes_once_and_with_the_others() -> None:
    text = "protocol: elsa\ncodec:\n  rows: 3\n  sketch: {kind: sketch, colums: 3}\n  probe: {kind: sketch, colums: 3}\nseed: x\n"
    assert [(fault.path, fault.line) for fault in faults(text)] == [
        ("codec.rows", 3), ("codec.sketch", 4), ("codec.probe.0.colums", 5), ("seed", 6)]  # fmt: skip


def test_what_crosses_in_a_step_may_have_a_codec_whatever_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = replace(Elsa.pattern, crossings=(*Elsa.pattern.crossings, Crossing("logits", up=True)))
    monkeypatch.setattr(Elsa, "pattern", pattern)
    assert loaded("protocol: elsa\ncodec: {logits: float16}").scenario.codec.chains["logits"] == (Float16(),)
    assert [fault.path for fault in faults("protocol: {kind: elsa, round: 3}\ncodec: {logits: float16}")] == [
        "protocol.round"
    ]


def test_where_the_protocol_is_not_known_all_kinds_are_valid_that_any_sends() -> None:
    found = faults("protocol: elza\ncodec: {fingerprint: float16, logits: float16}")
    assert [fault.path for fault in found] == ["protocol.kind", "codec.logits"]
    assert found[1].message.endswith("; no protocol sends it")


def test_faults_in_a_chain_are_told_of_as_in_any_other() -> None:
    (fault,) = faults("protocol: elsa\ncodec: {fingerprint: sketh}")
    assert fault.path == "codec.fingerprint.0.kind"
    assert fault.message.startswith("unknown kind 'sketh'; did you mean 'sketch'?")
    (fault,) = faults("protocol: elsa\ncodec: {fingerprint: [{kind: sketch, row: 2}]}")
    assert (fault.path, fault.line) == ("codec.fingerprint.0.row", 2)
    assert "unknown key 'row' (kind: sketch); did you mean 'rows'?" in fault.message
    (fault,) = faults("protocol: elsa", "codec.fingerprint=[{kind: sketch, rows: 0}]")
    assert fault.path == "codec.fingerprint.0.rows"


def test_a_section_with_an_unknown_kind_is_not_built(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("protocol: elsa\ncodec: {logits: float16}")
    made = examine(path)
    assert made.unsound == {"codec"}
    assert len(made.faults) == 1


def test_single_codecs_of_every_kind_are_put_in_lists() -> None:
    for chain in ("float16", "{kind: float16}", "[float16]", "[{kind: float16}]"):
        for made in (
            loaded(f"protocol: elsa\ncodec: {{probe: {chain}}}"),
            loaded("protocol: elsa", f"codec.probe={chain}"),
        ):
            assert made.scenario.codec.chains["probe"] == (Float16(),)


def test_all_kinds_are_written_out() -> None:
    written = dump(loaded("protocol: elsa\ncodec: {fingerprint: float16, adapters: int8}"))
    assert yaml.safe_load(written)["codec"] == {"activation": [], "gradient": [], "fingerprint": [{"kind": "float16"}],
                                                "adapters": [{"kind": "int8", "scale": "float32"}]}  # fmt: skip
    assert dump(loaded(written)) == written


def test_made_in_python() -> None:
    options = CodecOptions(adapters=(Int8(),), fingerprint=(Float16(),))
    assert options.chains == {"activation": (), "gradient": (), "adapters": (Int8(),), "fingerprint": (Float16(),)}
    assert options == CodecOptions(adapters=(Int8(),), fingerprint=(Float16(),)) != CodecOptions(adapters=(Int8(),))
    made = Scenario(protocol=Elsa(), codec=options)
    assert loaded(dump(Loaded(made))).scenario.codec.chains == options.chains
    with pytest.raises(ValueError, match="instance"):
        CodecOptions(fingerprint=(3,))


def test_reports_of_clients_are_coded() -> None:
    """ELSA's fingerprints are a kind of message like the others."""
    change = (
        "protocol={kind: elsa, rounds: 1, local_steps: 1, edge_rounds: 1, trust: {}}",
        "task.train_size=190",
        "task.public=100",
    )
    plain, half = (played(*change, *codec) for codec in ((), ("codec={fingerprint: float16}",)))
    sizes = [transfers(made.events, "fingerprint")["bytes"].tolist() for made in (plain, half)]
    assert len(sizes[0]) == len(sizes[1]) > 0
    payload = [next(n for n in range(0, size, 2) if framed(n) == size) for size in sizes[0]]
    assert sizes[1] == [framed(n // 2) for n in payload]
    assert {"probe", "fingerprint"} <= set(plain.summary["bytes"]["by_kind"]) <= set(Elsa().message_kinds)
