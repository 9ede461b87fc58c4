"""What a scenario was understood to say, in words and units: what ``elsa-sim check`` prints, so that nothing is guessed unseen.

Bare numbers are SI (``latency: 20`` is 20 s), options have defaults, files have units of their own: here each becomes a line
that can be read. Tested in tests/run/test_understood.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..base.listing import listed
from ..base.units import format_bandwidth, format_bytes, format_flops, format_seconds, format_speed
from ..codecs.base import Codec, MessageContext
from ..codecs.chain import coupled, resolved, wire_specs
from ..devices import DeviceOptions, NumberType, known, profile
from ..learning.backbone.options import adapted, whole
from ..learning.misbehaviour.base import Misbehaviour
from ..protocols.selection_faults import homes_of
from .checks import Plan
from .cut_costs import step_flops, whole_model
from .population import asked
from .understood_network import Row, of_network, spread, stated

#: What is probably not meant: a learning rate of AdamW, a delay (s) and a bandwidth (bit/s) of a link, a share of words.
LARGE_LR, LONG_DELAY, SLOW_LINK, FEW_WORDS = 0.1, 5.0, 1e4, 0.1


def rows(plan: Plan) -> Iterator[Row]:
    """Name and text of all that ``plan`` was understood to say, in the order of a scenario file."""
    yield from _protocol(plan)
    yield from _nodes(plan)
    yield from of_network(plan)
    yield from _devices(plan)
    yield from _samples(plan)
    yield from _cuts(plan)
    yield from _messages(plan)
    yield from _servers(plan)
    if plan.scenario.execution.mode == "real":
        yield "checkpoints", plan.scenario.checkpoint.spoken
    yield "random, from the seed", f"seed {plan.scenario.seed}: {', '.join(_random(plan))}"
    for note in (*plan.notes, *_doubts(plan)):
        yield "note", note


def _protocol(plan: Plan) -> Iterator[Row]:
    protocol, shape, lora = plan.scenario.protocol, plan.outline.shape, plan.scenario.backbone.lora
    inner = getattr(protocol, "edge_rounds", 1)
    steps = f"{protocol.rounds} rounds of {f'{inner} edge rounds of ' if inner > 1 else ''}{protocol.local_steps} local steps"
    steps += f", learning rate {protocol.lr:g}"
    yield "protocol", f"{protocol.kind}: {steps}"
    if given := stated(protocol, {"kind", "rounds", "edge_rounds", "local_steps", "lr"}):
        yield "  with", given
    if not protocol.selection.everyone:
        yield "  who takes part", _chosen(plan)
    if stops := stated(plan.scenario.stop, set()):
        yield "  ends early", f"at the first of {stops}"
    model = whole(shape.layers)
    sizes = (
        f"{shape.layers} layers, hidden size {shape.hidden}, {_count(plan.outline.frozen([model]))} frozen parameters"
    )
    targets = ", ".join(adapted(plan.source.architecture, lora))
    head = " with the head" if plan.scenario.task.objective == "classification" else ""
    trained = f"LoRA of rank {lora.rank} on {targets}: {_count(plan.outline.trained([model]))} parameters trained{head}"
    begin = "" if plan.source.adapters is None else f"; adapters start from {plan.source.adapters}"
    numbers = f"; {said}" if (said := plan.outline.numbers.spoken) else ""
    yield "backbone", f"{plan.scenario.backbone.name}: {sizes}{numbers}; {trained}{begin}"


def _chosen(plan: Plan) -> str:
    """How many of its clients each server chooses."""
    protocol, alike = plan.scenario.protocol, defaultdict[str, list[str]](list)
    for server, clients in homes_of(protocol, plan.edge_of, plan.topology.cloud).items():
        asked, first = (each(len(clients)) for each in (protocol.selection.asked, protocol.selection.closes))
        text = f"at most {asked} of {len(clients)} clients" + ("" if first is None else f", until {first} have arrived")
        alike[text].append(server)
    return "; ".join(f"{text} at {listed(servers, 8)}" for text, servers in alike.items())


def _nodes(plan: Plan) -> Iterator[Row]:
    roles = ((role, len(plan.topology.names(role))) for role in ("client", "edge", "cloud", "router"))
    yield "nodes", ", ".join(f"{count} {role}" for role, count in roles if count)
    servers = (*plan.topology.names("cloud"), *plan.topology.names("edge"))
    yield "servers", f"cloud {servers[0]}" + (f"; edge {listed(servers[1:], 8)}" if servers[1:] else "")


def _devices(plan: Plan) -> Iterator[Row]:
    for role in ("client", "edge", "cloud"):
        found = [plan.devices[name] for name in plan.topology.names(role)]
        if not found:
            continue
        text = spread([each.effective_speed / each.slowdown for each in found], format_speed)
        text += f" in {plan.scenario.number_type}, memory {spread([each.memory for each in found], format_bytes)}"
        idle, busy = zip(*((each.power.idle, each.power.busy) for each in found), strict=True)
        text += f", {spread(idle, '{:g} W'.format)} idle, {spread(busy, '{:g} W'.format)} busy"
        text += "".join(f"; {told}" for told in _profiled(found, plan.scenario.number_type))
        slow, away = sum(bool(each.stragglers) for each in found), sum(bool(each.downtimes) for each in found)
        text += f"; {slow} with varying slowdowns" if slow else ""
        yield f"{role} devices", text + (f"; {away} with downtimes" if away else "")


def _profiled(found: Sequence[DeviceOptions], numbers: NumberType) -> Iterator[str]:
    """The profiles whose speeds count, and what share of a peak that is."""
    names = Counter(each.profile for each in found if each.profile is not None
                    and each.effective_speed == profile(each.profile)["speed"].get(numbers))  # fmt: skip
    for name, count in names.items():
        entry = known()[str(name)]
        share = f"{100 * entry['efficiency']:g} % of a peak of {format_speed(entry['peak_flops'][numbers])}"
        yield f"{count} as {name}: {share}" + (", unverified" if _doubted(entry, numbers) else "")


def _doubted(entry: Mapping[str, Any], numbers: str) -> bool:
    """Whether the peak of a profile in a type of numbers is unverified."""
    return not {"peak_flops", f"peak_flops.{numbers}"}.isdisjoint(entry["unverified"])


def _samples(plan: Plan) -> Iterator[Row]:
    task, texts = plan.scenario.task, plan.texts
    counts = [len(samples) for samples in plan.samples]
    yield (
        "training samples",
        (
            f"{sum(counts)}, per client {min(counts)} to {max(counts)} ({plan.scenario.partition.kind}); batches of "
            f"{task.batch_size} texts of at most {task.max_length} tokens"
        ),
    )
    classes = f", {len(texts.labels)} classes: {listed(texts.labels, 8)}" if texts.labels else ""
    yield "test samples", f"{len(texts.test)}{classes}"
    if plan.unreliable:
        told = [f"{name} {_spoken([each])}" for name, each in sorted(plan.unreliable.items())]
        yield "misbehaving clients", f"{len(told)}: {listed(told, 8)}"


def _cuts(plan: Plan) -> Iterator[Row]:
    """The cut of every client and why, a line for those that have it in common; and what a client computes and holds."""
    layers = plan.source.layers
    together: dict[tuple[int, int, str], list[str]] = {}
    for name, cut in (plan.cuts or {}).items():
        together.setdefault((cut.p, cut.q, cut.why), []).append(name)
    for (p, q, why), names in together.items():
        yield "cut", f"{listed(names, 8)}: client {p} + {q} layers, server {layers - p - q}; {why}"
    if plan.trainers:
        task, pattern = plan.scenario.task, plan.scenario.protocol.pattern
        batch, length = task.batch_size, task.max_length
        cuts = {(cut.p, cut.q) for cut in (plan.cuts or {}).values()} or {(0, 0)}
        held = [pattern.held(pattern.divide(layers, p, q), "client") for p, q in cuts]
        memory = [plan.outline.training(parts, batch, length).total() for parts in held]
        step = [step_flops(plan.outline, parts, batch, length) for parts in held]
        text = f"at most {spread(step, format_flops)} a step and {spread(memory, format_bytes)} of memory"
        if plan.cuts is not None:
            model = whole_model(plan.outline, batch, length)
            text += f"; the whole model: {format_flops(model.flops)}, {format_bytes(model.memory)}"
        yield "a client computes", text


def _messages(plan: Plan) -> Iterator[Row]:
    """Which codecs each kind of message passes, and its bytes per token on a padded batch."""
    scenario, chains = plan.scenario, coupled(plan.scenario.codec.chains)
    tokens = scenario.task.batch_size * scenario.task.max_length
    states = plan.outline.states(tokens)
    ways: dict[str, list[bool]] = {}
    for crossing in scenario.protocol.pattern.crossings:
        ways.setdefault(crossing.kind, []).append(crossing.up)
    for kind, ups in ways.items():
        sizes: dict[str, list[str]] = {}
        for up in dict.fromkeys(ups):
            chain = resolved(chains.get(kind, ()), MessageContext(kind, up, round=2, index=1), None)
            size = sum(buffer.nbytes for buffer in wire_specs(chain, states)[1])
            sizes.setdefault(f"{size / tokens:.4g} B", []).append("up" if up else "down")
        crossed = ", ".join(f"{size} {' and '.join(ways)}" for size, ways in sizes.items())
        told = f"{crossed} per token, of {plan.outline.states(1).nbytes} B"
        yield f"{kind} messages", f"{_spoken(chains.get(kind, ()))}: {told}"
    for kind in scenario.protocol.message_kinds:
        if kind not in ways and (kind == "adapters" or chains.get(kind)):
            yield f"{kind} messages", _spoken(chains.get(kind, ()))


def _servers(plan: Plan) -> Iterator[Row]:
    protocol = plan.scenario.protocol
    if protocol.unaggregated is not None:
        return
    together: dict[str, list[str]] = {}
    for each in protocol.aggregators(plan.edge_of, plan.topology.cloud):
        together.setdefault(f"{each.rule.kind} of up to {each.members} {each.what}", []).append(each.server)
    for text, servers in together.items():
        yield "aggregation", f"{listed(servers, 8)}: {text}"


def _random(plan: Plan) -> Iterator[str]:
    """What the seed decides."""
    scenario, devices = plan.scenario, plan.devices.values()
    given = [
        ("who holds which samples", True),
        ("order of samples", True),
        ("initial adapters and head", True),
        ("the network's shape", scenario.topology.random),
        ("what devices and links are drawn from distributions", any(True for _ in asked(scenario))),
        ("keys of codecs", any(scenario.codec.chains.values())),
        ("who takes part", scenario.protocol.selection.random),
        ("who misbehaves", scenario.unreliable is not None and scenario.unreliable.share > 0),
        ("slowdowns", any(s.random for each in devices for s in each.stragglers)),
        ("downtimes", any(d.random for each in devices for d in each.downtimes)),
        ("failures of links", any(each.times == "exponential" for each in scenario.network.failures)),
        ("jitter", any(link.jitter for link in plan.topology.links)),
        ("the air", scenario.wireless is not None),
    ]
    return (name for name, there in given if there)


def _doubts(plan: Plan) -> Iterator[str]:
    """What can be meant, but probably is not."""
    lr = plan.scenario.protocol.lr
    if lr > LARGE_LR:
        yield f"a learning rate of {lr:g} is large for AdamW, which usually takes 1e-5 to {LARGE_LR:g}"
    tokens, positions = plan.scenario.task.max_length, plan.source.architecture.positions
    if tokens > positions:
        yield f"texts have up to {tokens} tokens, more than the {positions} that {plan.scenario.backbone.name} was made for"
    path = plan.scenario.task.public_file
    if path is not None and (shared := plan.texts.words_in_public()) < FEW_WORDS:
        yield (
            f"the public texts of {path} have {100 * shared:.2g} % of the words of the training texts; what is fitted to "
            "them, and attackers, who learn from them, know little of the others"
        )
    for link in plan.topology.links:
        if link.latency > LONG_DELAY:
            yield (
                f"the link {link.u}-{link.v} takes {format_seconds(link.latency)} one way; a bare number is in s, so write "
                f"'{link.latency:g} ms' if that was meant"
            )
            break
    for link in plan.topology.links:
        slow = min(link.up, link.down)
        if slow < SLOW_LINK:
            yield (
                f"the link {link.u}-{link.v} carries {format_bandwidth(slow)}; a bare number is in bit/s, so write "
                f"'{slow:g} Mbit/s' if that was meant"
            )
            break


def _spoken(chain: Sequence[Codec | Misbehaviour]) -> str:
    """A chain of codecs, or a misbehaviour, with the options that were given."""
    said = []
    for codec in chain:
        options = [f"{name} {value}" for name in type(codec).model_fields if name in codec.model_fields_set - {"kind"}
                   and isinstance(value := getattr(codec, name), int | float | str)]  # fmt: skip
        said.append(f"{codec.kind} ({', '.join(options)})" if options else codec.kind)
    return ", then ".join(said) if said else "no codec"


def _count(number: int) -> str:
    if number >= 1e9:
        return f"{number / 1e9:.3g} billion"
    return f"{number / 1e6:.3g} M" if number >= 1e6 else f"{number / 1e3:.3g} k" if number >= 1e3 else str(number)
