"""The mobility scenario: what distance, power and movement do to a run."""

from __future__ import annotations

import examples

from elsa_sim.results.metrics import Results

SHORT = "protocol.rounds=3"
STILL = "wireless.mobility=static"


def played(*changes: str) -> Results:
    return examples.run("mobility", SHORT, *changes)


def seconds(*changes: str) -> float:
    return examples.seconds(played(*changes))


def test_clients_that_move_change_their_edge_server_and_train_with_the_new_one() -> None:
    run = played()
    handovers = run.events[run.events["kind"] == "handover"]
    assert len(handovers) > 0
    up = run.events[(run.events["kind"] == "transfer") & (run.events["detail"] == "activation")]
    servers = up[up["node"].astype(str).str.startswith("client")].groupby("node", observed=True)["peer"].nunique()
    changed = set(servers[servers > 1].index)
    assert changed
    assert changed <= set(handovers["node"])
    assert not (played(STILL).events["kind"] == "handover").any()


def test_nearer_clients_stronger_signals_and_wider_bands_are_faster() -> None:
    far = seconds(STILL)
    assert seconds(STILL, "wireless.area=[200, 100]") < far
    assert seconds(STILL, "wireless.power=33 dBm", "wireless.station_power=40 dBm") < far
    assert seconds(STILL, "wireless.bandwidth=1 MHz") < far
    assert seconds(STILL, "wireless.noise_figure=17 dB") > far


def test_the_same_seed_walks_the_same_way() -> None:
    again = examples.run.__wrapped__("mobility", SHORT)
    assert again.summary["trace_sha256"] == played().summary["trace_sha256"]
