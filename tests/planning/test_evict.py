"""Who makes room for whom."""

from hypothesis import given
from hypothesis import strategies as st

from mlm.planning.evict import LoadedModel, Room, choose_evictions

GIB = 1024**3


def loaded(model_id: str, size: int, idle_s: float, **more: bool) -> LoadedModel:
    return LoadedModel(model_id, {"cpu": size}, idle_s, **more)


def room(size: int, max_models: int = 9) -> Room:
    return Room({"cpu": size}, max_models)


def test_nobody_goes_while_there_is_room():
    assert choose_evictions({"cpu": 4}, room(10), [loaded("a", 5, 60)]) == []


def test_the_longest_idle_goes_first():
    models = [loaded("young", 4, 1), loaded("old", 4, 100), loaded("middle", 4, 50)]
    assert choose_evictions({"cpu": 4}, room(12), models) == ["old"]
    assert choose_evictions({"cpu": 8}, room(12), models) == ["old", "middle"]


def test_a_full_house_makes_room_even_when_bytes_are_plenty():
    models = [loaded("a", 1, 10), loaded("b", 1, 20)]
    assert choose_evictions({"cpu": 1}, room(100, max_models=2), models) == ["b"]


def test_a_busy_model_goes_only_when_idle_ones_are_not_enough():
    models = [loaded("busy", 4, 0, busy=True), loaded("idle", 4, 1)]
    assert choose_evictions({"cpu": 4}, room(8), models) == ["idle"]
    assert choose_evictions({"cpu": 8}, room(8), models) == ["idle", "busy"]


def test_a_pinned_model_stays():
    models = [loaded("pinned", 6, 900, pinned=True), loaded("other", 2, 1)]
    assert choose_evictions({"cpu": 4}, room(10), models) == ["other"]
    assert choose_evictions({"cpu": 5}, room(10), models) is None


def test_what_is_larger_than_the_machine_never_fits():
    assert choose_evictions({"cpu": 11}, room(10), []) is None


def test_nobody_goes_for_bytes_that_were_not_short():
    on_cpu = LoadedModel("on-cpu", {"cpu": 8, "cuda0": 0}, idle_s=99)
    on_gpu = LoadedModel("on-gpu", {"cpu": 1, "cuda0": 8}, idle_s=1)
    limits = Room({"cpu": 16, "cuda0": 10}, max_models=3)
    assert choose_evictions({"cpu": 1, "cuda0": 8}, limits, [on_cpu, on_gpu]) == ["on-gpu"]


models = st.lists(
    st.builds(
        LoadedModel,
        model_id=st.uuids().map(str),
        memory=st.fixed_dictionaries({"cpu": st.integers(0, 20), "cuda0": st.integers(0, 20)}),
        idle_s=st.floats(0, 1000),
        busy=st.booleans(),
        pinned=st.booleans(),
    ),
    max_size=6,
)


@given(models, st.integers(0, 30), st.integers(0, 30), st.integers(1, 6))
def test_whatever_is_loaded_the_choice_makes_room_and_is_minimal(present, cpu, gpu, max_models):
    needed = {"cpu": cpu, "cuda0": gpu}
    limits = Room({"cpu": 30, "cuda0": 30}, max_models)
    evicted = choose_evictions(needed, limits, present)
    pinned = [model.memory for model in present if model.pinned]
    if evicted is None:
        assert not limits.holds([needed, *pinned])
        return
    stay = [model.memory for model in present if model.model_id not in evicted]
    assert limits.holds([needed, *stay])
    assert not {model.model_id for model in present if model.pinned} & set(evicted)
    for model in present:
        if model.model_id in evicted:
            assert not limits.holds([needed, model.memory, *stay])
