"""Who is in memory, who waits, who goes: stories, and whatever a simulated clock brings."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlm.planning.evict import Room
from mlm.planning.residency import Decision, Rules, Standing, decide

ROOM = Room({"cpu": 10}, 9)


def standing(model_id: str, size: int = 4, **more: Any) -> Standing:
    return Standing(model_id, {"cpu": size}, **more)


def ready(model_id: str, size: int = 4, **more: Any) -> Standing:
    return standing(model_id, size, state="ready", **more)


def decided(*models: Standing, room: Room = ROOM, now: float = 100, wait: float = 300) -> Decision:
    return decide(models, Rules(room, wait), now)


def test_what_is_wanted_and_fits_is_loaded():
    decision = decided(standing("a", waiting=(99,)), standing("b", waiting=(98,)), standing("c"))
    assert set(decision.started) == {"a", "b"}


def test_models_are_loaded_in_the_order_in_which_they_were_asked_for():
    models = standing("late", 6, waiting=(99,)), standing("early", 6, waiting=(98,))
    assert set(decided(*models).started) == {"early"}


def test_who_came_later_waits_behind_even_if_there_is_room():
    busy, large = ready("busy", 6, active=1), standing("large", 6, waiting=(98,))
    assert decided(busy, large, standing("small", 2, waiting=(99,))).started == {}


def test_a_busy_model_that_must_make_room_serves_those_who_came_first_and_nobody_else():
    busy = ready("a", 6, waiting=(10, 20, 40), active=1, places=9, ready_since=5)
    decision = decided(busy, standing("b", 6, waiting=(30,)))
    assert decision.admitted == {"a": 2}
    assert decision.unloaded == {}


def test_a_model_serves_all_who_waited_while_it_was_loaded_before_it_makes_room():
    fresh = ready("a", 6, waiting=(10, 20, 40), places=9, ready_since=50)
    assert decided(fresh, standing("b", 6, waiting=(15,))).admitted == {"a": 3}


def test_it_goes_when_it_has_finished_and_those_who_came_later_wait_for_its_next_turn():
    idle = ready("a", 6, waiting=(40,), ready_since=5)
    decision = decided(idle, standing("b", 6, waiting=(30,)))
    assert (decision.unloaded, decision.admitted) == ({"a": "room"}, {})


def test_no_more_requests_use_a_worker_than_it_has_places():
    assert decided(ready("a", waiting=(1, 2, 3, 4), active=2, places=4)).admitted == {"a": 2}
    assert decided(ready("a", waiting=(1, 2), active=0, places=4, alive=False)).admitted == {}


def test_who_has_waited_too_long_is_sent_away_and_never_loads_anything():
    decision = decided(standing("a", waiting=(10, 20, 95)), wait=50)
    assert decision.late == {"a": 2}
    assert set(decision.started) == {"a"}
    assert decided(standing("a", waiting=(10, 20)), wait=50).started == {}


def test_a_model_that_nobody_uses_goes_after_its_time():
    idle = ready("a", last_used_at=40, ttl_s=60)
    assert decided(idle, now=99).unloaded == {}
    assert decided(idle, now=99).again_at == 100
    assert decided(idle, now=100).unloaded == {"a": "idle"}


@pytest.mark.parametrize("why", [{"pinned": True}, {"active": 1}, {"ttl_s": None}])
def test_but_not_one_that_is_pinned_or_busy_or_may_stay(why: dict[str, Any]):
    idle = replace(ready("a", last_used_at=0, ttl_s=60), **why)
    assert (decided(idle).unloaded, decided(idle).again_at) == ({}, None)


def test_one_with_another_config_goes_when_nobody_uses_it():
    assert decided(ready("a", outdated=True, active=1)).unloaded == {}
    assert decided(ready("a", outdated=True)).unloaded == {"a": "outdated"}


def test_what_fits_only_without_pinned_models_is_refused_at_once():
    pinned, wanted = ready("a", 6, pinned=True, active=1), standing("b", 6, waiting=(99,))
    assert decided(pinned, wanted).refused == {"b": "pinned"}
    assert decided(pinned, standing("b", 11, waiting=(99,))).refused == {"b": "too_large"}
    assert decided(pinned, standing("b", 1, waiting=(99,), resting=True)).refused == {
        "b": "resting"
    }


def test_while_one_model_may_not_start_yet_another_may():
    restarting = standing("a", 6, wanted_since=1, may_start_at=130)
    decision = decided(restarting, standing("b", 6, waiting=(99,)))
    assert set(decision.started) == {"b"}
    assert decision.again_at == 130


def test_what_a_worker_may_keep_prefixes_in_counts_as_taken():
    held = ready("a", 3, keeps=4, active=1)
    assert decided(held, standing("b", 4, waiting=(99,))).started == {}
    assert decided(replace(held, keeps=3), standing("b", 4, waiting=(99,))).started == {"b": 0}


def test_prefixes_are_kept_in_what_no_other_model_will_need():
    wanted = standing("a", 3, keeps_at_most=5, waiting=(99,))
    assert decided(wanted).started == {"a": 5}
    assert decided(wanted, standing("b", 4)).started == {"a": 3}  # b has been in use
    assert decided(wanted, standing("b", 8)).started == {"a": 5}  # b will not fit beside it


# A simulated server: it does what is decided, with loads and answers that take their time.


@dataclass
class Request:
    model_id: str
    asked_at: float
    takes_s: float
    outcome: str = ""
    ended_at: float = 0.0


@dataclass
class Simulation:
    models: dict[str, Standing]
    rules: Rules
    requests: list[Request]
    load_s: float
    now: float = 0.0
    loads: Counter[str] = field(default_factory=Counter)
    queued: dict[str, list[Request]] = field(default_factory=dict)
    events: list[tuple[float, int, Any]] = field(default_factory=list)
    again_at: float | None = None

    def run(self) -> None:
        """Let everything happen until nothing more will."""
        self.queued = {model_id: [] for model_id in self.models}
        for request in self.requests:
            self.at(request.asked_at, lambda r=request: self.queued[r.model_id].append(r))
        for _ in range(20_000):
            times = [self.events[0][0]] if self.events else []
            times += [self.again_at] if self.again_at is not None else []
            if not times:
                return
            assert min(times) >= self.now
            self.now = min(times)
            while self.events and self.events[0][0] <= self.now:
                self.events.pop(0)[2]()
            self.step()
        raise AssertionError("it goes round in circles")

    def at(self, when: float, happen: Any) -> None:
        self.events.append((when, len(self.events), happen))
        self.events.sort(key=lambda event: event[0])

    def change(self, model_id: str, **changes: Any) -> None:
        self.models[model_id] = replace(self.models[model_id], **changes)

    def step(self) -> None:
        for model_id, queue in self.queued.items():
            self.change(model_id, waiting=tuple(r.asked_at for r in queue))
        decision = decide(list(self.models.values()), self.rules, self.now)
        for model_id, n in decision.late.items():
            self.send_away(model_id, n, "late")
        for model_id, why in decision.refused.items():
            self.send_away(model_id, len(self.queued[model_id]), why)
        for model_id, keeps in decision.started.items():
            self.loads[model_id] += 1
            self.change(model_id, state="starting", keeps=keeps)
            self.at(self.now + self.load_s, lambda m=model_id: self.become_ready(m))
        for model_id in decision.unloaded:
            model = self.models[model_id]
            assert model.active == 0, "a busy model went"
            assert not model.pinned, "a pinned model went"
            self.change(model_id, state="stopping")
            self.at(self.now + 0.1, lambda m=model_id: self.change(m, state="stopped", keeps=0))
        for model_id, n in decision.admitted.items():
            self.admit(model_id, n)
        self.again_at = decision.again_at
        assert self.again_at is None or self.again_at > self.now
        self.check_room()

    def send_away(self, model_id: str, n: int, outcome: str) -> None:
        for request in self.queued[model_id][:n]:
            request.outcome, request.ended_at = outcome, self.now
        del self.queued[model_id][:n]

    def become_ready(self, model_id: str) -> None:
        self.change(model_id, state="ready", ready_since=self.now, last_used_at=self.now)

    def admit(self, model_id: str, n: int) -> None:
        model = self.models[model_id]
        assert model.state == "ready"
        assert model.active + n <= model.places
        for request in self.queued[model_id][:n]:
            request.outcome, request.ended_at = "served", self.now
            self.at(self.now + request.takes_s, lambda: self.finish(model_id))
        del self.queued[model_id][:n]
        self.change(model_id, active=model.active + n)

    def finish(self, model_id: str) -> None:
        active = self.models[model_id].active - 1
        self.change(model_id, active=active, last_used_at=self.now)

    def check_room(self) -> None:
        present = [m.memory for m in self.models.values() if m.state != "stopped"]
        assert self.rules.room.holds(present), "more is in memory than there is room for"


kinds = st.builds(
    dict,
    size=st.integers(1, 12),
    places=st.integers(1, 3),
    keeps_at_most=st.integers(0, 5),
    pinned=st.sampled_from([False, False, False, True]),
    ttl_s=st.sampled_from([None, 0.5, 20.0]),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(kinds, min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 60), st.floats(0, 20)), min_size=1, max_size=40
    ),
    st.integers(1, 3),
    st.floats(0.1, 20),
)
def test_whatever_comes_everybody_is_served_or_refused_within_the_bound(
    models: list[dict[str, Any]], asked: list[tuple[int, float, float]], most: int, load_s: float
):
    named = {f"m{i}": standing(f"m{i}", **model) for i, model in enumerate(models)}
    requests = [Request(f"m{i % len(named)}", at, takes_s) for i, at, takes_s in sorted(asked)]
    requests.sort(key=lambda request: request.asked_at)
    simulation = Simulation(named, Rules(Room({"cpu": 10}, most), 30.0), requests, load_s)
    simulation.run()
    for request in requests:
        assert request.outcome, "somebody was forgotten"
        assert request.ended_at - request.asked_at <= 30.0 + 1e-6
    for request in requests:
        if request.outcome == "too_large":
            assert named[request.model_id].needed["cpu"] > 10


@pytest.mark.parametrize("seed", range(5))
def test_two_models_that_take_turns_in_the_room_of_one_are_loaded_once_per_batch(seed: int):
    dice = random.Random(seed)
    named = {name: standing(name, 6, places=8) for name in "ab"}
    times = sorted(dice.uniform(0, 60) for _ in range(400))
    requests = [Request("ab"[i % 2], at, dice.uniform(0.1, 2)) for i, at in enumerate(times)]
    simulation = Simulation(named, Rules(ROOM, 300.0), requests, load_s=5.0)
    simulation.run()
    assert {request.outcome for request in requests} == {"served"}
    longest = max(request.ended_at for request in requests)
    # A batch is what came during the other's load and batch; each takes 5 s of loading at least.
    assert simulation.loads.total() <= longest / 5.0 + 1
    assert simulation.loads.total() <= 40


def test_two_models_that_fit_without_their_prefixes_do_not_drive_each_other_out():
    named = {name: standing(name, 5, places=8, keeps_at_most=4) for name in "ab"}
    requests = [Request("ab"[i % 2], float(i), 0.1) for i in range(60)]
    simulation = Simulation(named, Rules(ROOM, 300.0), requests, load_s=0.5)
    simulation.run()
    assert simulation.loads.total() <= 2
