"""The document ``mlm.bench/1``: for `--compare`, for other programs, for whoever reads it later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import mlm
from mlm.bench.compare import Change, compare
from mlm.bench.load import Load, Measured, Run
from mlm.bench.match import DROPPED, Match, Play
from mlm.bench.ratios import Ratio
from mlm.bench.remarks import remarks
from mlm.bench.summary import Summary
from mlm.errors import NotFoundError, UsageError

SCHEMA = "mlm.bench/1"
MAX_FILE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the figures changed since an earlier bench, and how much slower they may be."""

    file: Path  # the earlier report
    changes: tuple[Change, ...]
    gate_pct: float | None

    @property
    def failing(self) -> tuple[Change, ...]:
        """The figures that do not pass the gate; none where there is no gate."""
        if self.gate_pct is None:
            return ()
        return tuple(change for change in self.changes if change.fails(self.gate_pct))

    def fields(self) -> dict[str, Any]:
        """Return what the field ``comparison`` holds."""
        return {
            "file": str(self.file),
            "changes": [change.fields() for change in self.changes],
            "gate_pct": self.gate_pct,
            "passed": not self.failing,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """One bench: what was measured, of what, on what."""

    machine: Mapping[str, Any]  # the fields of ``mlm.hardware/1``
    model: str
    server: str  # its address
    load: Load
    measured: Measured
    summary: Summary
    skipped: Mapping[str, str]  # prompt -> why it was not asked
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the runtime config, as given
    comparison: Comparison | None = None
    match: Match | None = None  # of this server, which is A, with another one
    match_gate_pct: float | None = None  # by how much A may be slower than B

    @property
    def failing_ratios(self) -> tuple[Ratio, ...]:
        """The ratios of the match that do not pass its gate; none where there is no gate."""
        if self.match is None or self.match_gate_pct is None:
            return ()
        return tuple(ratio for ratio in self.match.ratios if ratio.fails(self.match_gate_pct))

    def compared_with(self, file: Path, before: Sequence[Run], gate_pct: float | None) -> "Report":
        """Return the report with how it differs from the runs ``before``, read from ``file``."""
        changes = compare(before, self.measured.runs)
        return replace(self, comparison=Comparison(file, changes, gate_pct))

    def fields(self) -> dict[str, Any]:
        """Return the fields of ``mlm.bench/1``."""
        prompts = [{"prompt": name, **asdict(one)} for name, one in self.summary.by_prompt.items()]
        return {
            "machine": dict(self.machine),
            "model": {"id": self.model, "server": self.server},
            "config": {**asdict(self.load), "temperature": 0, "overrides": dict(self.overrides)},
            "runs": [asdict(run) for run in self.measured.runs],
            "skipped": dict(self.skipped),
            "summary": {
                **asdict(self.summary.all),
                "prefill_tps": self.summary.prefill_tps,
                "total_tps": self.summary.total_tps,
                "rating": self.summary.rating,
                "failed": self.summary.failed,
                "cached": self.summary.cached,
                "wall_s": self.measured.wall_s,
                "prompts": prompts,
            },
            "comparison": self.comparison.fields() if self.comparison else None,
            "against": self._against(self.match) if self.match else None,
        }

    def _against(self, match: Match) -> dict[str, Any]:
        """Return the field ``against``: the other server, B, and how the two compare."""
        other = match.sides["b"]
        return {
            "model": {"id": other.model, "server": other.client.base_url},
            "scenarios": [
                {"name": s.name, "meaning": s.meaning, "figures": [f.name for f in s.figures]}
                for s in match.scenarios
            ],
            "rounds": match.rounds,
            "dropped_rounds": DROPPED,
            "ratios": [ratio.fields() for ratio in match.ratios],
            "gate_pct": self.match_gate_pct,
            "passed": not self.failing_ratios,
            "plays": [_play_fields(play) for play in match.plays],
            "runs": [asdict(run) for run in match.measured("b").runs],
            "cpu_us_per_token": {name: match.cpu_us_per_token(name) for name in match.sides},
            "remarks": remarks(match),
        }

    def write(self, path: Path) -> None:
        """Write the document to ``path``, over what may be there.

        Raises:
            UsageError: that cannot be written.
        """
        document = {"schema": SCHEMA, "mlm_version": mlm.__version__, **self.fields()}
        try:
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}", remedy="-o FILE") from error


def _play_fields(play: Play) -> dict[str, Any]:
    return {
        "scenario": play.scenario,
        "side": play.side,
        "round": play.round,
        "figures": dict(play.figures),
        "requests": len(play.runs),
        "failed": sum(not run.counts for run in play.runs),
        "prompt_tokens": play.prompt_tokens,
        "completion_tokens": play.completion_tokens,
        "wall_s": play.wall_s,
        "cpu_s": play.cpu_s,
        "error": play.failure.message if play.failure else None,
    }


def read_runs(path: Path) -> tuple[Run, ...]:
    """Return the runs in a file that ``mlm bench -o`` wrote.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not such a file.
    """
    wrong = UsageError(
        f"{path} was not written by `mlm bench -o`", remedy="mlm bench REF -o before.json"
    )
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise wrong
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise wrong
        return tuple(_read_run(row) for row in document["runs"])
    except OSError as error:
        raise NotFoundError(
            f"cannot read {path}: {error.strerror}", remedy="mlm bench REF -o before.json"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise wrong from error


def _read_run(row: dict[str, Any]) -> Run:
    """Return one run; fields that a later version added are passed over."""
    run = Run(**{column.name: row[column.name] for column in fields(Run)})
    figures = (run.ttft_ms, run.e2e_ms, run.decode_tps)
    if not isinstance(run.prompt, str) or not all(
        figure is None or (isinstance(figure, int | float) and figure >= 0) for figure in figures
    ):
        raise ValueError("a figure is not a number")
    return run
