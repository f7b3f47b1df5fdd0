"""``mlm`` alone: what this machine is, what suits it, what is here, and what to type next."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.cli._columns import one_line, wrap
from mlm.cli._session import Session, wants_plain

if TYPE_CHECKING:
    from mlm.catalog.lookup import Catalog
    from mlm.hardware.types import Hardware
    from mlm.planning.recommendation import Recommendation
    from mlm.server.registry import RunningServer
    from mlm.store.types import ModelFile

_WIDEST, _LABEL = 80, 14
_GREETING = "mlm runs language models on this machine: it finds, fetches and serves them."
_MORE = "Choose yourself: mlm recommend. A tour: mlm demo. All commands: mlm --help"

Step = tuple[str, str]  # what to type, and what it does


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to go on with."""

    best: str | None  # the model that suits the machine best; None: none does
    installed: str | None  # of those that write text, the one used last
    served: str | None  # one that writes text, of a running server
    serving: bool
    has_engine: bool


def welcome(session: Session) -> None:
    """Print it piece by piece: what takes longest comes last.

    Nothing is asked of any network, and nothing is written but caches.

    Raises:
        MlmError: a file of the person's own catalog makes no sense.
    """
    from mlm.cli._catalog import open_catalog

    page = _Page()
    page.say(_GREETING)
    page.say("")
    catalog = open_catalog(session)
    best = _judge(session, page, catalog)
    servers, models = _running(session), _installed(session)
    if models:
        others = f", and {len(models) - 1} more" if len(models) > 1 else ""
        page.row("installed", f"{models[0].short_ref}{others}")
    for server in servers:
        page.row("running", f"{', '.join(server.models) or 'any installed model'} at {server.url}")
    has_engine = _has_engine()
    if not has_engine:
        page.row("engine", "not installed, so models can be fetched but not run yet")
    page.say("")
    vectors = {entry.model_id for entry in catalog.entries if entry.embeds}
    names = (model.short_ref for model in models)
    served = (name for server in servers for name in server.models)
    found = Found(
        best=best.label if best else None,
        installed=next((name for name in names if name.split(":")[0] not in vectors), None),
        served=next((name for name in served if name.split(":")[0] not in vectors), None),
        serving=bool(servers),
        has_engine=has_engine,
    )
    page.steps(choose_steps(found))
    page.say("")
    page.say(_MORE)


def choose_steps(found: Found) -> list[Step]:
    """Return the three commands that are worth most now."""
    if found.serving:
        talk = found.served or found.installed
        steps = [(f"mlm chat {shlex.quote(talk)}", "talk with it")] if talk else []
        return [*steps, ("mlm stats --live", "see how the server is doing"), ("mlm stop", "end it")]
    model = found.installed or found.best
    if model is None:
        return [
            ("mlm recommend", "why no model of the catalog fits"),
            ("mlm search TEXT --hub", "find a smaller one"),
            ("mlm hardware", "what mlm sees of this machine"),
        ]
    model = shlex.quote(model)
    steps = [] if found.has_engine else [("mlm engine install", "build what runs models: minutes")]
    if found.installed is None:
        steps.append((f"mlm download {model}", "fetch it, every byte checked"))
    steps.append((f"mlm chat {model}", "talk with it"))
    steps.append((f"mlm serve {model}", "offer OpenAI's API to your programs"))
    if found.best not in (None, found.installed, model):
        steps.append((f"mlm download {found.best}", "fetch the one that suits best"))
    return steps[:3]


def _judge(session: Session, page: "_Page", catalog: "Catalog") -> "Recommendation | None":
    """Say what the machine is and which model suits it; return the latter."""
    from mlm.cli._experience import read_calibration
    from mlm.cli._machine import planned_machine
    from mlm.planning.recommend import recommend
    from mlm.planning.recommendation import Wish

    machine = planned_machine(session)
    page.row("this machine", describe_machine(machine))
    known = read_calibration(session, machine)
    ranking = recommend(catalog.entries, machine, Wish(), 1, known)
    best = ranking.recommendations[0] if ranking.recommendations else None
    text = "no model of the catalog: it is too small" if best is None else _describe(best)
    if best is not None:
        text += _lacking_room(best, session.settings.hub_cache)
    page.row("best for it", text)
    return best


def describe_machine(machine: "Hardware") -> str:
    """Return what counts for models, in a line."""
    from mlm.units import format_size

    cores = machine.cpu.usable_cores
    parts = [f"{cores} core{'s' if cores > 1 else ''}"]
    parts.append(f"{format_size(machine.memory.usable)} of free memory")
    for gpu in machine.accelerators:
        memory = "" if gpu.memory_total is None else f", {format_size(gpu.memory_total)}"
        parts.append(f"{gpu.name}{' (shares it)' if gpu.unified else memory}")
    if not machine.accelerators:
        parts.append("no GPU")
    return ", ".join(parts)


def _describe(best: "Recommendation") -> str:
    from mlm.units import format_size

    about = "" if best.quant.size_exact else "about "
    size, speed = format_size(best.quant.size_bytes), best.speed
    words = f"{best.label}: {about}{size} to fetch"
    return f"{words}, about {speed.mid:.0f} tokens/s ({speed.low:.0f} to {speed.high:.0f})"


def _lacking_room(best: "Recommendation", hub_cache: Path) -> str:
    """Return a warning where the disk is too full for it."""
    from mlm.store.space import free_bytes
    from mlm.units import format_size

    free = free_bytes(hub_cache)
    if free > best.quant.size_bytes:
        return ""
    return f"; but only {format_size(free)} of disk are free at {hub_cache}"


def _installed(session: Session) -> "list[ModelFile]":
    """Return the models that are here, the one used last first."""
    home = session.settings.home
    if not (home.index_db.exists() or home.receipts.exists()):
        return []
    from mlm.store.store import Store

    with Store(home, session.settings.hub_cache) as store:
        return sorted(store.models(), key=lambda model: -(model.last_used_at or 0))


def _running(session: Session) -> "list[RunningServer]":
    run = session.settings.home.run
    if not run.is_dir():
        return []
    from mlm.server.registry import Registry

    return [server for server in Registry(run).servers() if not server.private]


def _has_engine() -> bool:
    from mlm.engine.extra import EngineMissing, require_engine

    try:
        require_engine()
    except EngineMissing:
        return False
    return True


class _Page:
    """Lines on stdout, as wide as it is; what can be typed is bold on a terminal."""

    def __init__(self) -> None:
        self._width = min(_WIDEST, max(20, shutil.get_terminal_size().columns))
        is_bold = sys.stdout.isatty() and not wants_plain()
        self._bold, self._normal = ("\x1b[1m", "\x1b[0m") if is_bold else ("", "")

    def say(self, text: str) -> None:
        """Print a paragraph, at once."""
        print(wrap(text, width=self._width), flush=True)

    def row(self, label: str, text: str) -> None:
        """Print a fact."""
        print(wrap(one_line(text), indent=f"{label:<{_LABEL}}", width=self._width), flush=True)

    def steps(self, steps: Sequence[Step]) -> None:
        """Print commands with what they do: beside them, or below where that is too narrow."""
        longest = max(len(one_line(typed)) for typed, _ in steps)
        beside = longest + max(len(does) for _, does in steps) + 4 <= self._width
        for typed, does in steps:
            command = one_line(typed)
            bold = f"{self._bold}{command}{self._normal}"
            if beside:
                print(f"  {bold}{' ' * (longest - len(command))}  {does}")
            else:
                print(f"  {bold}")
                print(wrap(does, indent=" " * 6, width=self._width))
