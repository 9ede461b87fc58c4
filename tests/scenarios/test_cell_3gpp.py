"""The scenario of two small cells by TR 38.901: what sight and frequency do to a run."""

from __future__ import annotations

import examples

from elsa_sim.results.metrics import Results

SHORT = "protocol.rounds=3"


def played(*changes: str) -> Results:
    return examples.run("cell_3gpp", SHORT, *changes)


def seconds(*changes: str) -> float:
    return examples.seconds(played(*changes))


def test_sight_low_frequencies_and_short_ways_are_faster() -> None:
    drawn = seconds()
    assert seconds("wireless.path_loss.los=always") < drawn < seconds("wireless.path_loss.los=never")
    assert seconds("wireless.path_loss.frequency=28 GHz") > drawn > seconds("wireless.path_loss.frequency=700 MHz")


def test_shadowing_is_the_standards_unless_it_is_stated() -> None:
    times = {seconds(), seconds("wireless.shadowing=0 dB"), seconds("wireless.shadowing=4 dB")}
    times |= {seconds("wireless.shadowing_distance=500 m")}
    assert len(times) == 4


def test_the_same_seed_meets_the_same_corners_with_arithmetic_or_without() -> None:
    again = examples.run.__wrapped__("cell_3gpp", SHORT)
    assert again.summary["trace_sha256"] == played().summary["trace_sha256"]
    real = examples.run("cell_3gpp", "protocol.rounds=1", mode=examples.REAL)
    assert real.summary["timeline_sha256"] == examples.run("cell_3gpp", "protocol.rounds=1").summary["timeline_sha256"]


def test_a_site_beyond_the_standard_is_told_of() -> None:
    assert played().summary["notes"] == []
    [note] = played("wireless.path_loss=inh", "wireless.area=[800, 400]").summary["notes"]
    assert "path loss InH of TR 38.901 is for up to 150 m" in note
