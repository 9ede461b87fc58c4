"""Console tables: what the command line shows at the end, in words and units.

Tested in tests/cli/test_commands.py and tests/cli/test_optimise.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ..joint.study import Found
    from ..results.metrics import Results
    from ..run.checks import Plan
    from ..run.cut_costs import CutCost
    from ..scenario.model import Loaded


def console() -> Any:
    """Where tables go."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else 1000  # what other programs read is not cut into lines
    return Console(width=wide, soft_wrap=wide is not None, highlight=False, markup=False)


def closing(results: Results) -> Table:
    """The closing table of a run."""
    from ..base.units import format_bytes, format_seconds

    summary = results.summary
    table = titled(f"{summary['name']}: {summary['protocol']}, seed {summary['seed']}, {summary['rounds']} rounds")
    table.add_row("simulated time", format_seconds(summary["sim_time_s"]))
    if summary["time_to_target_s"] is not None:
        table.add_row("time to target accuracy", format_seconds(summary["time_to_target_s"]))
    if summary["accuracy"] is not None:
        clean = summary.get("clean_accuracy")
        without = "" if clean is None else f"; without codecs {clean:.4f}"
        table.add_row("test accuracy", f"{summary['accuracy']:.4f}  (best {summary['best_accuracy']:.4f}{without})")
    for name in ("macro_f1", "loss", "perplexity"):
        if summary.get(name) is not None:
            table.add_row(f"test {name}".replace("_", "-"), f"{summary[name]:.4g}")
    sizes = summary["bytes"]
    table.add_row("bytes on the wire", format_bytes(sizes["total"]))
    for kind, size in sizes["by_kind"].items():
        table.add_row(f"  {kind}", format_bytes(size))
    table.add_row("  uplink / downlink", f"{format_bytes(sizes['uplink'])} / {format_bytes(sizes['downlink'])}")
    if sizes["aborted"] or sizes["wasted"]:
        lost = f"{format_bytes(sizes['aborted'])} / {format_bytes(sizes['wasted'])}"
        table.add_row("  aborted / wasted", lost)
    if summary["retries"]:
        table.add_row("retries", str(summary["retries"]))
    if summary["missing"]:
        table.add_row("missing from rounds", str(summary["missing"]))
    for name, told in _updates(summary["updates"]) if "updates" in summary else ():
        table.add_row(name, told)
    for name, told in _selection(summary["selection"]) if "selection" in summary else ():
        table.add_row(name, told)
    for name, told in _energy(summary["energy_j"]):
        table.add_row(name, told)
    host = summary["host"]
    share = f"{100 * host['math_s'] / host['wall_s']:.0f} % of it tensor math" if host["wall_s"] else ""
    table.add_row("host time", f"{format_seconds(host['wall_s'])}  ({share})")
    table.add_row("peak memory of the host", format_bytes(host["peak_rss_bytes"]))
    table.add_row("invariants", str(summary["invariants"]))
    for note in summary.get("notes", ()):
        table.add_row("note", note)
    for line in summary.get("warnings", ()):
        table.add_row("warning", line)
    return table


def _energy(spent: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the training itself took, by role, and what devices drew while they did nothing."""
    from ..base.units import format_energy

    def told(joules: Mapping[str, float]) -> str:
        parts = f"computing {format_energy(joules['compute'])}, radio {format_energy(joules['radio'])}"
        return f"{format_energy(joules['marginal'])}  ({parts})"

    yield "energy without idle", told(spent)
    for role, joules in spent["by_role"].items():
        yield f"  {role}", told(joules)
    yield "  idle draw on top", format_energy(spent["idle"])


def _updates(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What became of asynchronous updates."""
    yield "updates merged / rejected", f"{found['merged']} / {found['rejected']}"
    if found["merged"]:
        yield "  staleness", f"{found['staleness_mean']:.2g} versions on average, {found['staleness_max']} at most"
        yield "  participation", f"{found['participation_jain']:.3f}  (Jain's index over clients)"
        yield "  influence of a sample", f"{found['influence_jain']:.3f}  (Jain's index over clients)"
    yield "  clients idle", f"{100 * found['client_idle']:.0f} % of the time"


def _selection(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who was selected."""
    yield "selected / arrived", f"{found['selected']} / {found['arrived']}"
    yield "  never took part", f"{found['never_arrived']} clients, {found['never_selected']} never selected"
    if found["arrived"]:
        yield "  participation", f"{found['participation_jain']:.3f}  (Jain's index over clients)"


def planned(loaded: Loaded, plan: Plan) -> Table:
    """What a scenario would run, as it was understood."""
    from ..run import understood

    table = titled(f"{loaded.document.source}: fine")
    for name, text in understood.rows(plan):
        table.add_row(name, text)
    return table


def population(plan: Plan) -> Iterator[Table]:
    """The quantiles of what was drawn from distributions, and the shares of what is no number, if there is something."""
    from rich.table import Table

    from ..run.population import SHARES, drawn

    found = [(each, each.key.partition(".")[2]) for each in drawn(plan) if each.values]
    if any(not each.is_text for each, _ in found):
        shares = (f"{100 * share:.0f} %" for share in SHARES)
        table = Table("drawn, with quantiles", "", *shares, box=None, pad_edge=False, header_style="bold")
        for column in table.columns[2:]:
            column.justify = "right"
        for each, key in found:
            if not each.is_text:
                unit, quantiles = each.quantiles()
                table.add_row(key, unit, *quantiles)
        yield table
    if any(each.is_text for each, _ in found):
        table = titled("drawn, with how many have each")
        for each, key in found:
            if each.is_text:
                table.add_row(key, each.shares())
        yield table


def cuts(model: CutCost, every: Sequence[CutCost]) -> Table:
    """FLOPs of a step and memory of a client, with the whole model and at every cut, and their shares of the former."""
    from rich.table import Table

    from ..base.units import format_bytes, format_flops

    table = Table("p", "q", "FLOPs a step", "of whole", "memory", "of whole", box=None, pad_edge=False,
                  header_style="bold", title="A client at every cut", title_justify="left", title_style="bold")  # fmt: skip
    for column in table.columns:
        column.justify = "right"
    table.add_row("all", "", format_flops(model.flops), "", format_bytes(model.memory), "")
    for cost in every:
        shares = (f"{100 * cost.flops / model.flops:.0f} %", f"{100 * cost.memory / model.memory:.0f} %")
        table.add_row(str(cost.p), str(cost.q or ""), format_flops(cost.flops), shares[0],
                      format_bytes(cost.memory), shares[1])  # fmt: skip
    return table


def kinds(family: str | None) -> Table:
    """What there is to choose from: all kinds of all families, or of one.

    Raises:
        InputError: there is no such family.
    """
    from rich.table import Table

    from ..base.errors import InputError
    from ..base.registry import families, summary
    from ..devices import profiles
    from ..learning.backbone.catalogue import entries, told
    from ..learning.backbone.configuration import BUILT_IN
    from ..results import plots
    from ..scenario import model
    from ..scenario.validation import hint

    model.scenario_type()
    plots.figures()
    rows = {name: {k: summary(c) for k, c in each.members.items()} for name, each in families().items()}
    rows["backbone"] = {name: f"{kind}, randomly initialised, no download" for name, (kind, _) in BUILT_IN.items()}
    rows["backbone"] |= {
        "minilm": "all-MiniLM-L6-v2, pretrained BERT of 6 layers (extra [pretrained])",
        "FOLDER": "a local folder with config.json and safetensors weights",
        "HUB/ID": "a model of the Hugging Face hub, safetensors only",
    }
    rows["backbone"] |= {name: told(entry) for name, entry in entries().items()}
    rows["profile"] = {name: profiles.told(name) for name in profiles.known()}
    wanted = None if family is None else family.rstrip("s").replace("-", "_")
    if wanted is not None and wanted not in rows:
        raise InputError(f"no family {family!r}{hint(wanted, sorted(rows))}")
    table = Table("family", "kind", "what it is", box=None, pad_edge=False, header_style="bold")
    for name in sorted(rows) if wanted is None else [wanted]:
        for kind in sorted(rows[name]):
            table.add_row(name, kind, rows[name][kind])
    return table


def optimised(found: Found) -> Table:
    """What the joint optimiser decided, and what that is worth."""
    from ..base.units import format_seconds
    from ..joint.comparison import mean_delays

    result, made, choice = found.result, found.problem, found.choice
    decision, parts = result.decision, result.breakdown
    table = titled(f"{found.loaded.document.source}: optimised in {len(result.history)} steps, {result.host_s:.2f} s")
    table.add_row("cut", f"{decision.cut} of {found.plan.source.layers} layers on the clients")
    table.add_row("LoRA rank", str(decision.rank))
    for name, given in (("main", decision.main), ("federated", decision.fed_server)):
        own = (f"{client} {int((given.owners == k).sum())} at {1e3 * given.power[given.owners == k].sum():.3g} mW"
               for k, client in enumerate(made.names))  # fmt: skip
        table.add_row(f"{name} uplink", f"subchannels and power: {', '.join(own)}")
    table.add_row("a round", format_seconds(parts.round_s))
    for part, seconds in parts.critical.items():
        table.add_row(f"  {part.replace('_', ' ')}", format_seconds(seconds))
    if choice.rounds is None:
        table.add_row("rounds to a target", "not known: delays are those of one round, and the smallest rank wins")
    else:
        how = choice.rounds.at(decision.rank).how
        law = "" if how == "measured" else f"; the law is within {100 * choice.rounds.worst:.0f} % of what was measured"
        table.add_row("rounds to the target", f"{parts.rounds:.3g}  ({how}{law})")
        table.add_row("all rounds", format_seconds(parts.total_s))
    means = mean_delays(found.table).iloc[0]
    for system, seconds in means.iloc[1:].items():
        table.add_row(str(system), f"{format_seconds(seconds)}  ({seconds / means.iloc[0]:.2f} times as long)")
    return table


def titled(title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    return table
