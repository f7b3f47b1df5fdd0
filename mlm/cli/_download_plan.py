"""What a download comes to, before many bytes move: size, place, disk, time, fit, speed."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._columns import align, one_line, wrap
from mlm.cli._confirm import confirm
from mlm.cli._session import Session
from mlm.terminal import printable
from mlm.units import format_duration, format_size

if TYPE_CHECKING:
    from mlm.hardware.types import Hardware
    from mlm.store.delivery import Forecast
    from mlm.store.order import Order
    from mlm.store.types import Downloaded

ASK_FROM_BYTES = 2 * 10**9  # what a person may mind: minutes on most lines, a third of a small disk
_LABEL = 14


@dataclass(frozen=True, slots=True)
class Outlook:
    """What this machine will make of one model. ``fits`` None: nobody can tell yet."""

    ref: str
    fits: bool | None
    text: str
    memory_bytes: int | None = None
    decode_tps: float | None = None


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """All of it. Sizes are bytes."""

    files: "tuple[Downloaded, ...]"
    fetch_bytes: int  # that are still to be written
    folder: Path
    free_bytes: int  # of the disk that holds the folder
    bytes_per_s: int | None  # what is to be expected
    rate_origin: str
    outlooks: tuple[Outlook, ...]

    @property
    def expected_s(self) -> float | None:
        """How long it will take; None where nobody knows."""
        return self.fetch_bytes / self.bytes_per_s if self.bytes_per_s else None

    def fields(self) -> dict[str, Any]:
        """Return ``plan`` of a ``mlm.download/1`` document."""
        from dataclasses import asdict

        return {
            "fetch_bytes": self.fetch_bytes,
            "folder": str(self.folder),
            "free_bytes": self.free_bytes,
            "free_after_bytes": self.free_bytes - self.fetch_bytes,
            "bytes_per_s": self.bytes_per_s,
            "expected_s": None if self.expected_s is None else round(self.expected_s, 1),
            "models": [asdict(outlook) for outlook in self.outlooks],
        }


def make_plan(
    run: Session, wanted: "Sequence[tuple[Order, Forecast]]", limit_rate: int | None
) -> DownloadPlan:
    """Return what the orders come to, each with what is missing of it."""
    from mlm.cli._download_rate import recall_rate
    from mlm.cli._machine import planned_machine
    from mlm.store.space import free_bytes

    folder = run.settings.hub_cache
    rate, origin = recall_rate(run.settings), "as fast as the last one"
    if limit_rate is not None and (rate is None or limit_rate < rate):
        rate, origin = limit_rate, "at the rate that you allow; not less"
    fetch_bytes = sum(forecast.missing_bytes for _, forecast in wanted)
    machine = planned_machine(run)
    return DownloadPlan(
        files=tuple(file for _, forecast in wanted for file in forecast.files),
        fetch_bytes=fetch_bytes,
        folder=folder,
        free_bytes=free_bytes(folder),
        bytes_per_s=rate,
        rate_origin=origin,
        outlooks=tuple(_judge(run, order, forecast, machine) for order, forecast in wanted),
    )


def describe_plan(plan: DownloadPlan) -> str:
    """Return the plan as a person reads it."""
    rows = [["FILE", "SIZE", ""]]
    for file in plan.files:
        state = "here already" if file.status == "present" else "to fetch"
        rows.append([one_line(file.filename), format_size(file.size_bytes), state])
    after = plan.free_bytes - plan.fetch_bytes
    left = f"{format_size(after)} after" if after >= 0 else f"{format_size(-after)} too little"
    facts = [
        ("to fetch", format_size(plan.fetch_bytes)),
        ("into", str(plan.folder)),
        ("disk", f"{format_size(plan.free_bytes)} free, {left}"),
    ]
    if plan.fetch_bytes and plan.expected_s is not None:
        rate = f"{(plan.bytes_per_s or 0) / 10**6:.3g} MB/s"
        facts.append(("time", f"{format_duration(plan.expected_s)}: {rate}, {plan.rate_origin}"))
    facts += [("this machine", f"{outlook.ref} {outlook.text}") for outlook in plan.outlooks]
    lines = [wrap(one_line(text), indent=f"{label:<{_LABEL}}") for label, text in facts]
    return "\n".join([align(rows, right=(1,)), "", *lines])


def offer(run: Session, plan: DownloadPlan) -> None:
    """Show the plan on stderr and have a person agree; on too full a disk it fails anyway.

    Raises:
        typer.Abort: the answer is no.
    """
    print(printable(describe_plan(plan)), file=sys.stderr)
    if plan.free_bytes < plan.fetch_bytes:
        return
    if not confirm("Fetch it?", default=True):
        run.note("nothing was fetched")
        raise typer.Abort


def is_asked(forecasts: "Sequence[Forecast]") -> bool:
    """Tell whether so much is missing that a person at a terminal should be asked."""
    missing = sum(forecast.missing_bytes for forecast in forecasts)
    return missing > ASK_FROM_BYTES and sys.stdin.isatty() and sys.stderr.isatty()


def _judge(run: Session, order: "Order", forecast: "Forecast", machine: "Hardware") -> Outlook:
    """Return what the catalog's facts, or else the size alone, say of a model."""
    from mlm.planning.placement import devices_of

    if order.model is not None:
        return _judge_known(run, order, machine)
    size = sum(file.size_bytes for file in forecast.files)
    room = sum(device.available for device in devices_of(machine))
    ref = str(order.ref)
    if size > room:
        text = f"cannot run: its weights take {format_size(size)} of {format_size(room)} of memory"
        return Outlook(ref, False, text, size)
    text = f"may run: its weights take {format_size(size)} of {format_size(room)} of memory; "
    return Outlook(ref, None, f"{text}mlm plan says more", size)


def _judge_known(run: Session, order: "Order", machine: "Hardware") -> Outlook:
    from mlm.catalog.types import UseCase
    from mlm.cli._catalog import open_catalog
    from mlm.cli._experience import read_calibration
    from mlm.planning.recommend import consider
    from mlm.planning.recommendation import Rejection, Wish

    catalog = open_catalog(run)
    entry = catalog.find(str(order.model))
    place = (order.ref.repo_id, order.ref.filename)
    quant = next(q for q in entry.quants if (q.repo_id, q.filename) == place)
    ref = f"{entry.model_id}:{quant.quant}"
    use: UseCase = next((use for use in entry.use_cases if use != "vision"), "chat")
    found = consider(entry, quant, machine, Wish(use), read_calibration(run, machine))
    if isinstance(found, Rejection):
        return Outlook(ref, False, f"does not suit it: {found.reason}")
    speed = found.speed
    text = f"fits: {format_size(found.memory_bytes)} of memory, about {speed.mid:.0f} tokens/s"
    text += f" ({speed.low:.0f} to {speed.high:.0f})"
    return Outlook(ref, True, text, found.memory_bytes, found.decode.mid)
