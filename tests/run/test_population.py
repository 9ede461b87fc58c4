"""What was drawn: told by check, kept with the run, and the same again wherever the scenario is played."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest
from resumed import assert_resumes
from small_runs import loaded, played

from elsa_sim.base.errors import ScenarioError
from elsa_sim.cli import tables
from elsa_sim.run import checks, population
from elsa_sim.scenario.dump import dump
from elsa_sim.scenario.model import load

SPEED = "devices.client.speed={kind: lognormal, median: 2 GFLOP/s, sigma: 0.8}"
UP = "topology.access={up: {kind: lognormal, median: 10 Mbit/s, sigma: 1}, latency: {kind: uniform, low: 5 ms, high: 80 ms}}"
TABLE = "flops,up\n1,2\n4,8\n16,32\n"
ROWS = ("devices.client.speed={kind: column, file: t.csv, column: flops, unit: GFLOP/s}",
        "topology.access.up={kind: column, file: t.csv, column: up, unit: Mbit/s}", "topology.access.down=null")  # fmt: skip


def test_links_and_devices_of_one_client_are_of_one_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    plan = checks.check(loaded(*ROWS, "topology.clients=30", folder=tmp_path))
    up = {link.u: link.up for link in plan.topology.links}
    pairs = {
        (each.effective_speed / 1e9, up[name] / 1e6)
        for name, each in plan.devices.items()
        if name in up and name[0] == "c"
    }
    assert {(a, b) for a, b in pairs if b < 100} == {(1.0, 2.0), (4.0, 8.0), (16.0, 32.0)}
    assert all(link.down == link.up for link in plan.topology.links if link.u.startswith("client"))


def test_other_clients_move_no_link() -> None:
    def links(count: int) -> dict[str, tuple[float, float]]:
        plan = checks.check(loaded(UP, f"topology.clients={count}"))
        return {link.u: (link.up, link.latency) for link in plan.topology.links if link.u.startswith("client")}

    few, many = links(3), links(9)
    assert few == {name: many[name] for name in few}
    assert len(set(many.values())) == 9


@pytest.mark.parametrize("kind", ["star", "ring, routers: 4, edges: 2, core: {up: 1e9, latency: {kind: uniform, low: 0, high: 1}}, "
                                  "backhaul: {up: 1e9}", "waxman, routers: 9, edges: 2, core: {up: {kind: uniform, low: 1e8, "
                                  "high: 1e9}, latency: {kind: uniform, low: 0, high: 1}}, backhaul: {up: 1e9}"])  # fmt: skip
def test_every_generator_draws(kind: str) -> None:
    access = "access: {up: {kind: uniform, low: 1 Mbit/s, high: 2 Mbit/s}}"
    plan = checks.check(
        loaded(f"topology={{kind: {kind}, clients: 5, {access}}}", "protocol={kind: fedavg, rounds: 1}")
    )
    links = plan.topology.links
    assert len({link.up for link in links if link.u.startswith("client")}) == 5
    core = [link for link in links if link.u.startswith("router")]
    assert len({link.latency for link in core}) == len(core)


def test_what_check_tells() -> None:
    plan = checks.check(
        loaded(
            SPEED,
            UP,
            "topology.clients=400",
            "task.train_size=900",
            "devices.client.memory={kind: choice, of: [2 GB, 4 GB]}",
        )
    )
    found = {each.key: each for each in population.drawn(plan)}
    assert [*found] == [
        "devices.client.speed",
        "devices.client.memory",
        "topology.access.up",
        "topology.access.latency",
    ]
    unit, quantiles = found["devices.client.speed"].quantiles()
    assert unit == "GFLOP/s"
    expected = [2 * 2.718281828 ** (0.8 * z) for z in (-1.645, -0.6745, 0, 0.6745, 1.645)]
    assert [float(each) for each in quantiles] == pytest.approx(expected, rel=0.3)
    assert found["devices.client.memory"].quantiles() == (
        "GB",
        ["2", "2", *found["devices.client.memory"].quantiles()[1][2:]],
    )
    (table,) = tables.population(plan)
    console = tables.console()
    console.width = 80
    with console.capture() as shown:
        console.print(table)
    lines = shown.get().splitlines()
    assert len(lines) == 5, lines
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["drawn,", "with", "quantiles", "5", "%", "25", "%", "50", "%", "75", "%", "95", "%"]
    assert [*tables.population(checks.check(loaded()))] == []
    assert population.table(checks.check(loaded())) is None


def test_profiles_are_told_by_their_shares() -> None:
    plan = checks.check(
        loaded("devices.client={profile: {kind: choice, of: [raspberry-pi-4, raspberry-pi-5], weights: [0, 1]}}")
    )
    found = {each.key: each for each in population.drawn(plan)}
    assert found["devices.client.profile"].shares() == "3 raspberry-pi-5"
    assert found["devices.client.memory"].quantiles()[1] == ["8.59"] * 5
    assert len([*tables.population(plan)]) == 2


def test_a_run_keeps_what_was_drawn_and_its_scenario_draws_it_again(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    profiles = "devices.client.profile={kind: choice, of: [raspberry-pi-4, raspberry-pi-5]}"
    changes = (*ROWS, profiles, "devices.client.power={idle: 1 W}", "execution.mode=timing")
    one = loaded(*changes, folder=tmp_path)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "scenario.yaml").write_text(dump(one))
    two = load(tmp_path / "again" / "scenario.yaml")
    assert dump(two) == dump(one)
    assert population.table(checks.check(two)) == population.table(checks.check(one))


def test_the_file_of_a_run(tmp_path: Path) -> None:
    results = played(SPEED, UP, "execution.mode=timing", folder=tmp_path / "run")
    rows = [*csv.DictReader((tmp_path / "run" / "population.csv").read_text().splitlines())]
    assert [row["node"] for row in rows] == ["client0", "client1", "client2"]
    plan = checks.check(loaded(SPEED, UP))
    for row in rows:
        assert float(row["devices.client.speed (FLOP/s)"]) == plan.devices[row["node"]].speed
    assert results.summary["invariants"] == "hold"
    played("execution.mode=timing", folder=tmp_path / "plain")
    assert not (tmp_path / "plain" / "population.csv").exists()


def test_timing_is_the_timeline_of_a_real_run() -> None:
    changes = (SPEED, UP, "devices.client.stragglers=[{kind: throttling, phase: {kind: uniform, low: 0, high: 60 s}}]")
    real, timing = played(*changes), played(*changes, "execution.mode=timing")
    assert real.summary["sim_time_s"] == timing.summary["sim_time_s"]
    assert real.summary["bytes"] == timing.summary["bytes"]
    assert real.summary["sim_time_s"] != played("execution.mode=timing").summary["sim_time_s"]


def test_a_run_that_is_resumed_draws_the_same(tmp_path: Path) -> None:
    assert_resumes(tmp_path, SPEED, UP, rounds=[1])


def test_memory_faults_are_of_what_was_drawn() -> None:
    with pytest.raises(ScenarioError, match="client"):
        checks.check(loaded("devices.client.memory={kind: choice, of: [1 kB, 4 GB]}", "topology.clients=12"))


WRONG: list[Any] = [
    "{kind: lognormal}", "{kind: lognormal, median: -1, sigma: 1}", "{kind: lognormal, median: 1 W, sigma: 1}", "{kind: nope}",
    "{kind: uniform, low: 2e9, high: 1e9}", "{kind: uniform, low: .nan, high: 1e9}", "{kind: choice, of: []}", "{kind: choice}",
    "{kind: choice, of: 3}", "{kind: mixture, of: [{kind: mixture, of: [1]}]}", "{kind: column, file: no.csv, column: a}",
    "{kind: column, file: /dev/zero, column: a}", "{kind: column, file: t.csv, column: flop}", "{kind: [lognormal]}",
    "{kind: null}",
    "{kind: column, file: t.csv, column: flops}", "{kind: column, file: t.csv, column: flops, unit: parsec}", "{}", "[1, 2]",
    "{kind: lognormal, median: 1e20, sigma: 10}", "{kind: uniform, low: {kind: uniform, low: 1, high: 2}, high: 3}",
    "{kind: choice, of: [1e9], weights: [.inf]}", "{kind: lognormal, median: 1e9, sigma: 1, at_least: 1e9, at_most: 1}",
]  # fmt: skip


KEYS = ["devices.client.speed", "topology.access.up", "devices.client.downtimes.0.on", "devices.client.power.idle",
        "devices.client.profile", "devices.overrides.client1.speed"]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_wrong_distributions_are_faults_at_their_place(key: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    base = ["devices.client.downtimes=[{kind: on_off}]", "devices.overrides={client1: {}}"]
    for given in WRONG:
        fine = {"idle": "1 W", "client1.speed": "1e20", "profile": "1e20"}  # in units of power; draws of one client
        if any(key.endswith(end) and part in given for end, part in fine.items()):
            continue
        with pytest.raises(ScenarioError) as caught:
            checks.check(loaded(*base, f"{key}={given}", "topology.clients=60", folder=tmp_path))
        paths = [fault.path for fault in caught.value.faults]
        assert all(path.startswith(key.rpartition(".")[0]) for path in paths), (given, paths)


def test_mutated_distributions_end_in_plans_or_faults(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    rng = random.Random(5)
    words = ["kind", "lognormal", "uniform", "column", "choice", "mixture", "median", "low", "high", "of", "weights", "file",
             "t.csv", "flops", "2e9", "-1", "{}", "[]", "null", "sigma", "0.5", "unit", "GFLOP/s", "together", "false"]  # fmt: skip
    ends = set()
    for _ in range(60):
        pairs = ", ".join(f"{rng.choice(words)}: {rng.choice(words)}" for _ in range(rng.randint(0, 4)))
        try:
            checks.check(loaded(f"devices.client.speed={{kind: {rng.choice(words[1:6])}, {pairs}}}", folder=tmp_path))
            ends.add("a plan")
        except ScenarioError:
            ends.add("faults")
    assert "faults" in ends
