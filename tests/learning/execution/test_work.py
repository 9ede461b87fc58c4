"""Work and handles: specs, picking and merging, and what a function may give."""

from __future__ import annotations

import pytest
from graphs import NUMBER, work

from elsa_sim.learning.execution.executor import Batched
from elsa_sim.learning.execution.work import Ref, TensorSpec, Work


def test_too_few_or_too_many_values_are_an_error_that_fulfils_nothing() -> None:
    for values in ((1,), (1, 2, 3)):
        refs = Batched().finish(work(lambda values=values: values, outputs=2))
        for ref in refs:
            with pytest.raises(ValueError, match=f"{len(values)} values for its 2 outputs"):
                _ = ref.value
            assert not ref.ready


# Handles on adapters ------------------------------------------------------------------------------------------------

SPEC = {name: TensorSpec((2,)) for name in "abc"}
VALUE = {"a": 1, "b": 2, "c": 3}


def handles() -> dict[str, Ref]:
    return {
        "ready": Ref.of(VALUE, SPEC),
        "pending": Batched().finish(Work("test", lambda: (VALUE,), (), (SPEC,)))[0],
        "timing": Ref(SPEC),
    }


@pytest.mark.parametrize("state", ["ready", "pending", "timing"])
def test_picking_and_merging_follow_the_value_wherever_it_is(state: str) -> None:
    ref = handles()[state]
    one, two = ref.pick(["c", "a", "unknown"]), ref.pick(["b"])
    both = Ref.merge([one, two])
    assert list(one.spec) == ["c", "a"]
    assert both.spec == {"c": SPEC["c"], "a": SPEC["a"], "b": SPEC["b"]}
    assert one.ready == both.ready == (state == "ready")
    if state == "timing":
        with pytest.raises(RuntimeError, match="timing only"):
            _ = both.value
    else:
        assert one.value == {"c": 3, "a": 1}
        assert list(both.value.items()) == [("c", 3), ("a", 1), ("b", 2)]


def test_a_merge_of_ready_and_timing_only_parts_has_no_value() -> None:
    merged = Ref.merge([handles()["ready"].pick("a"), handles()["timing"].pick("b")])
    assert not merged.ready
    assert merged.node is None
    pending = Ref.merge([handles()["pending"].pick("a"), handles()["timing"].pick("b")])
    assert pending.node is None, "it would be tried again and again"
    with pytest.raises(RuntimeError, match="timing only"):
        _ = merged.value


def test_only_disjoint_mappings_are_merged_and_only_mappings_picked_from() -> None:
    ref = Ref.of(VALUE, SPEC)
    with pytest.raises(TypeError, match=r"^only mappings of disjoint names"):
        Ref.merge([ref.pick("ab"), ref.pick("bc")])
    with pytest.raises(TypeError, match=r"^only a mapping of names"):
        Ref.of(1, NUMBER).pick("a")
    with pytest.raises(TypeError, match="mappings"):
        Ref.merge([Ref.of(1, NUMBER)])


def test_the_size_of_a_spec_is_that_of_its_dense_buffer() -> None:
    assert (TensorSpec((3, 5)).numel, TensorSpec((3, 5)).nbytes) == (15, 60)
    assert TensorSpec((), "int64").nbytes == 8
    assert TensorSpec((4, 0), "float16").nbytes == 0
    assert TensorSpec((7,), "bfloat16").floating
    assert not TensorSpec((7,), "int8").floating
