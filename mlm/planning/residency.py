"""Which models are in memory, which must wait, which go, and who gets to use them.

One pure function, `decide`, says what to do now, and when to ask again. Models are loaded in the
order in which the requests came that wait for them. When one needs the room of another, that one
finishes what it has and what came before; later requests for it wait for its next turn. So
requests that alternate between two models are served in batches, not by a load for each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mlm.planning.evict import LoadedModel, Room, choose_evictions

State = Literal["stopped", "starting", "ready", "stopping"]
WhyNot = Literal["resting", "too_large", "pinned"]
WhyGo = Literal["room", "idle", "outdated"]
MAIN_MEMORY = "cpu"


@dataclass(frozen=True, slots=True)
class Standing:
    """A model as it is now. Times are seconds on one monotonic clock, sizes bytes."""

    model_id: str
    needed: Mapping[str, int]  # per device
    state: State = "stopped"
    keeps_at_most: int = 0  # of main memory beside that, for prefixes, if there is room
    keeps: int = 0  # what it was given of that when it was loaded
    waiting: tuple[float, ...] = ()  # since when each request has waited, the oldest first
    active: int = 0  # requests that use its worker
    places: int = 1  # requests that may use it at once
    alive: bool = True  # the worker can take requests
    wanted_since: float | None = None  # to be loaded though nobody waits
    ready_since: float = 0.0
    last_used_at: float = 0.0
    ttl_s: float | None = None  # idle for so long, it goes
    pinned: bool = False
    outdated: bool = False  # what it was loaded with is not what is wanted any more
    resting: bool = False  # not to be tried: it failed too often
    may_start_at: float = 0.0

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes per device that it takes while it is loaded."""
        in_main = self.needed.get(MAIN_MEMORY, 0) + self.keeps
        return {**self.needed, MAIN_MEMORY: in_main} if self.keeps else self.needed

    @property
    def rank(self) -> float | None:
        """Since when it has been wanted; None while it is not."""
        oldest = self.waiting[0] if self.waiting else None
        return min((t for t in (oldest, self.wanted_since) if t is not None), default=None)

    def as_loaded(self, now: float) -> LoadedModel:
        """Return what matters for the choice of who makes room."""
        busy = self.active > 0 or self.state == "starting"
        idle_s = 0.0 if busy else now - self.last_used_at
        return LoadedModel(self.model_id, self.memory, idle_s, busy, self.pinned)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all models."""

    room: Room
    max_wait_s: float  # of a request, for its turn


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, by model id. Numbers of requests count from the one that waits longest."""

    late: Mapping[str, int]  # so many have waited too long: send them away …
    refused: Mapping[str, WhyNot]  # … and here all that wait
    started: Mapping[str, int]  # load it; it may keep so many bytes of prefixes
    unloaded: Mapping[str, WhyGo]
    admitted: Mapping[str, int]  # let so many use the worker
    again_at: float | None  # decide again then, even if nothing has happened


def decide(models: Sequence[Standing], rules: Rules, now: float) -> Decision:
    """Return what to do with ``models``."""
    late = {m.model_id: n for m in models if (n := _count_late(m, rules, now))}
    models = [replace(m, waiting=m.waiting[late.get(m.model_id, 0) :]) for m in models]
    seating = _seat(models, rules.room, now)
    unloaded: dict[str, WhyGo] = {}
    admitted: dict[str, int] = {}
    for model in models:
        if model.state == "ready":
            makes_room = seating.next_rank if model.model_id in seating.victims else None
            if n := _count_admitted(model, makes_room):
                admitted[model.model_id] = n
            elif why := _why_go(model, now, makes_room=makes_room is not None):
                unloaded[model.model_id] = why
    due = (_alarms(model, rules, admitted.get(model.model_id, 0)) for model in models)
    alarms = [at for times in due for at in times if at > now]
    return Decision(
        late, seating.refused, seating.started, unloaded, admitted, min(alarms, default=None)
    )


@dataclass(slots=True)
class _Seating:
    """Who is loaded now, and for whom the next one waits."""

    refused: dict[str, WhyNot] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    victims: frozenset[str] = frozenset()  # make room …
    next_rank: float = 0.0  # … for one that has been wanted since then


def _seat(models: Sequence[Standing], room: Room, now: float) -> _Seating:
    """Give what room there is to those who have been wanted longest."""
    seating = _Seating()
    ranked = [(m.rank, m) for m in models if m.state == "stopped"]
    queue = sorted(((rank, m) for rank, m in ranked if rank is not None), key=lambda pair: pair[0])
    loaded = [m.as_loaded(now) for m in models if m.state in ("starting", "ready")]
    leaving = [m.memory for m in models if m.state == "stopping"]
    for rank, model in queue:
        if model.resting:
            seating.refused[model.model_id] = "resting"
        elif model.may_start_at > now:
            continue
        elif (chosen := choose_evictions(model.needed, room, loaded)) is None:
            fits_alone = room.holds([model.needed])
            seating.refused[model.model_id] = "pinned" if fits_alone else "too_large"
        else:
            present = [*leaving, *(other.memory for other in loaded)]
            if chosen or not room.holds([model.needed, *present]):
                seating.victims, seating.next_rank = frozenset(chosen), rank
                break  # whoever came later waits behind
            keeps = _spare_for(model, present, models, room)
            seating.started[model.model_id] = keeps
            loaded.append(replace(model, state="starting", keeps=keeps).as_loaded(now))
    return seating


def _spare_for(
    model: Standing, present: Iterable[Mapping[str, int]], models: Sequence[Standing], room: Room
) -> int:
    """Return how many bytes ``model`` may keep prefixes in.

    It is what the others leave: those that are loaded, and those that were in use before and would
    fit beside it. Otherwise two that do fit would drive each other out for the sake of prefixes.
    """
    if (limit := room.memory.get(MAIN_MEMORY)) is None:
        return model.keeps_at_most
    held = [model.needed, *present]
    absent = [m for m in models if m.state == "stopped" and m.model_id != model.model_id]
    for other in sorted(absent, key=lambda m: (m.rank is None, -m.last_used_at)):
        if room.holds([*held, other.needed]):
            held.append(other.needed)
    spare = limit - sum(memory.get(MAIN_MEMORY, 0) for memory in held)
    return max(0, min(model.keeps_at_most, spare))


def _count_admitted(model: Standing, makes_room: float | None) -> int:
    """Return how many of those who wait may use the worker now.

    One that makes room still serves those who were there when it was loaded, or came before those
    for whom it makes room.
    """
    if not model.alive:
        return 0
    waiting = len(model.waiting)
    if makes_room is not None:
        last = max(model.ready_since, makes_room)
        waiting = sum(since <= last for since in model.waiting)
    return max(0, min(waiting, model.places - model.active))


def _why_go(model: Standing, now: float, *, makes_room: bool) -> WhyGo | None:
    """Return why a ready model is unloaded now; None when it is not."""
    if model.active:
        return None
    if makes_room:
        return "room"
    if model.waiting:
        return None
    if model.outdated:
        return "outdated"
    return "idle" if _expires_at(model) <= now else None


def _expires_at(model: Standing) -> float:
    """Return when a model has been idle for too long, if nobody uses it until then."""
    if model.pinned or model.ttl_s is None:
        return float("inf")
    return model.last_used_at + model.ttl_s


def _count_late(model: Standing, rules: Rules, now: float) -> int:
    return sum(since + rules.max_wait_s <= now for since in model.waiting)


def _alarms(model: Standing, rules: Rules, admitted: int) -> Iterable[float]:
    """Return when something may be due although nothing happens."""
    if waiting := model.waiting[admitted:]:
        yield waiting[0] + rules.max_wait_s
    if model.state == "stopped" and model.rank is not None:
        yield model.may_start_at
    if model.state == "ready" and not model.active and (at := _expires_at(model)) < float("inf"):
        yield at
