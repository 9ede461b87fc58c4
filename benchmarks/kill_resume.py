"""Kills runs with SIGKILL at random moments, resumes them, and compares them with the run that was not killed.

    python benchmarks/kill_resume.py --kills 50           # goes on where it was stopped
    make kill KILL="--kills 200 --seed 1"

A trial draws a scenario below and begins its run with a checkpoint after every round. It is killed at a moment drawn from the
time that it takes, or soon after a checkpoint appeared or began to be written. Then `elsa-sim resume`, which is killed, too,
in every third trial, until one ends. Its event table, hash, rounds, adapters, figures and trace have to be those of the run that
was not killed, bit for bit. Results are kept in `--out` (default `runs/kill`), a line per trial.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from killing import Trial

from elsa_sim.results import plots
from elsa_sim.results.manifest import finished
from elsa_sim.results.metrics import load
from elsa_sim.run import simulation
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.model import validated

BASE = """\
protocol: {kind: elsa, rounds: 5, local_steps: 1, edge_rounds: 2, recluster_every: 2}
backbone:
  name: tiny-bert
  config: {num_hidden_layers: 3, hidden_size: 32, intermediate_size: 48, num_attention_heads: 2}
  lora: {rank: 2, alpha: 4, targets: [query, value]}
task: {kind: synthetic, topics: 3, train_size: 98, test_size: 30, batch_size: 4, public: 8}
topology:
  kind: tree
  clients: 4
  edges: 2
  access: {up: 10 Mbit/s, down: 40 Mbit/s, latency: 10 ms}
  backhaul: {up: 200 Mbit/s, down: 100 Mbit/s, latency: 5 ms}
devices: {client: {speed: 2 GFLOP/s}, edge: {speed: 20 GFLOP/s}, overrides: {client1: {slowdown: 2.7}}}
adapters: {best: true, every: 2, clients: true}
checkpoint: {every: 1, keep: 2}
"""
CODECS = (
    "codec.activation=[{kind: ssop, rank: 4}, {kind: sketch, rows: 2, columns: 8, decoder: linear, refresh_every: 2}]",
    "codec.gradient=[{kind: sketch, rows: 2, columns: 8}]",
    "codec.adapters=[feedback, {kind: topk}]",
)
AWAY = ("devices.client.downtimes=[{kind: on_off, on: 2 s, off: 100 ms}]", "devices.client.stragglers=[lognormal]")
SYNCHRONOUS = ("fedavg", "fedprox", "fedadam", "fedams", "hierfavg", "splitfed_v1", "splitfed_v2", "sflllm")
SCENARIOS: dict[str, tuple[str, ...]] = {
    "elsa, codecs": CODECS,
    "elsa, codecs, away, behaviour": (*CODECS, *AWAY, "protocol.clustering=similar", "protocol.probing={texts: 8, warm_up: 1}"),
    "elsa, serial": (*CODECS, *AWAY, "execution.executor=serial"),
    "elsa, two workers": (*CODECS, "execution.workers=2"),
    **{kind: (f"protocol={{kind: {kind}, rounds: 5, local_steps: 2}}", *AWAY) for kind in SYNCHRONOUS},
    **{f"{kind}, {clients}": (f"protocol={{kind: {kind}, clients: {clients}, rounds: 8, local_steps: 2}}", *AWAY)
       for kind in ("fedasync", "fedbuff", "alignfed") for clients in ("whole", "split")},
    "alignfed, split, codecs, two workers": (
        "protocol={kind: alignfed, clients: split, tiers: edges, rounds: 8, local_steps: 2}", *CODECS[:2], *AWAY,
        "execution.workers=2"),
    "fedbuff, fluid, fifo": ("protocol={kind: fedbuff, rounds: 8, local_steps: 2}", "network.model=fifo"),
    "fedavg, misbehaving": ("protocol={kind: fedavg, rounds: 5, local_steps: 2, aggregation: median}",
                            "unreliable={clients: {client1: stale, client2: noise}}"),
}  # fmt: skip


def command(folder: Path, name: str) -> Trial:
    more = [word for change in SCENARIOS[name] for word in ("--set", change)]
    return Trial(folder, "run", "base.yaml", "--out", "out", "--quiet", *more, cold=False)


def killed(trial: Trial, folder: Path, chance: random.Random, seconds: float) -> bool:
    """Begin a command and kill it at some moment; returns whether it was still running."""
    number = trial.begin()
    rounds = folder / "out.partial" / "checkpoint"
    wanted = chance.choice([None, f"round-{chance.randint(1, 5)}", f"round-{chance.randint(1, 5)}.partial"])
    end = time.monotonic() + 2 * seconds + 5
    if wanted is None:
        time.sleep(chance.uniform(0, 1.05 * seconds))
    else:
        while not (rounds / wanted).exists() and time.monotonic() < end:
            if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.0002)
        time.sleep(chance.choice([0.0, 0.001, 0.02]))
    os.kill(number, signal.SIGKILL)
    return trial.end(number) == -signal.SIGKILL


def facts(run: Path) -> dict[str, Any]:
    """What must be equal, by name."""
    results = load(run)
    summary = {key: value for key, value in results.summary.items() if key != "host"}
    rounds = results.rounds.drop(columns="host_time_s").to_csv(index=False)
    adapters = {
        str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("adapters/**/*.safetensors"))
    }
    figures = {path.name: path.read_bytes() for path in sorted((run / "figures").iterdir())}
    return {"summary": summary, "rounds": rounds, "events": results.events.to_csv(index=False), "adapters": adapters,
            "figures": figures, "trace": (run / "trace.json").read_bytes()}  # fmt: skip


def trial(folder: Path, chance: random.Random, name: str, whole: Path, seconds: float) -> dict[str, Any]:
    kills = int(killed(command(folder, name), folder, chance, seconds))
    faults: list[str] = []
    for attempt in range(9):
        if finished(folder / "out"):
            break
        began = any((folder / name / "scenario.yaml").exists() for name in ("out", "out.partial"))
        again = Trial(folder, "resume", "out", "--quiet", cold=False) if began else command(folder, name)
        if attempt < 2 and chance.random() < 0.33:
            kills += int(killed(again, folder, chance, seconds))
            continue
        status = again.run()
        if status != 0:
            faults.append(f"status {status}: {again.said[-300:]}")
            break
    if not faults:
        expected, found = facts(whole), facts(folder / "out")
        faults = [f"other {key}" for key in expected if expected[key] != found[key]]
        faults += ["a partial directory is left"] if (folder / "out.partial").exists() else []
    return {"scenario": name, "kills": kills, "faults": faults}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="part of the name of a scenario")
    parser.add_argument("--out", type=Path, default=Path("runs/kill"))
    given = parser.parse_args()
    out = (given.out / f"seed{given.seed}").resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    plots.save_figures(
        [simulation.run(validated(parse(BASE), ("protocol.rounds=1",)))], out / "warm"
    )  # import everything
    names, times = [name for name in SCENARIOS if given.only is None or given.only in name], dict[str, float]()
    while sum(each["kills"] for each in results) < given.kills:
        number = len(results)
        name, chance = names[number % len(names)], random.Random(f"{given.seed} {number}")
        whole, folder = out / "whole" / name, out / "trial"
        for place in (folder, *([whole] if name not in times else [])):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            (place / "base.yaml").write_text(BASE)
        if name not in times:
            begin, first = time.monotonic(), command(whole, name)
            if first.run() != 0:
                raise SystemExit(f"{name}: {first.said}")
            times[name] = time.monotonic() - begin
        begin = time.monotonic()
        result = {"trial": number, **trial(folder, chance, name, whole / "out", times[name]),
                  "seconds": round(time.monotonic() - begin, 2)}  # fmt: skip
        results.append(result)
        with kept.open("a") as file:
            file.write(json.dumps(result) + "\n")
        if result["faults"]:
            shutil.copytree(folder, out / f"faulty {number}", dirs_exist_ok=True)
            print(f"trial {number}, {name}: {result['faults']}", flush=True)
    faulty = [each for each in results if each["faults"]]
    per = Counter[str]()
    for each in results:
        per[each["scenario"]] += each["kills"]
    print("\n".join(f"{name:45s} {count:4d} kills" for name, count in sorted(per.items())))
    print(f"{sum(per.values())} kills in {len(results)} trials, {sum(each['seconds'] for each in results):.0f} s; "
          f"{len(faulty)} trials with faults")  # fmt: skip
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
