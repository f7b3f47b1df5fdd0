"""The document ``mlm.bench/1``: for `--compare`, for other programs, for whoever reads it later."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mlm.bench.compare import Change
from mlm.bench.load import Load, Measured, Run
from mlm.bench.summary import Summary
from mlm.errors import NotFoundError, UsageError

SCHEMA = "mlm.bench/1"
MAX_FILE_BYTES = 256 * 1024 * 1024


def measured_fields(measured: Measured, summary: Summary, load: Load) -> dict[str, Any]:
    """Return the fields ``config``, ``runs`` and ``summary``."""
    return {
        "config": {**asdict(load), "temperature": 0, "prompts": list(summary.by_prompt)},
        "runs": [asdict(run) for run in measured.runs],
        "summary": {
            **asdict(summary.all),
            "prefill_tps": summary.prefill_tps,
            "total_tps": summary.total_tps,
            "rating": summary.rating,
            "failed": summary.failed,
            "cached": summary.cached,
            "wall_s": measured.wall_s,
            "prompts": [{"prompt": name, **asdict(one)} for name, one in summary.by_prompt.items()],
        },
    }


def comparison_fields(
    path: Path, changes: Sequence[Change], gate_pct: float | None
) -> dict[str, Any]:
    """Return what the field ``comparison`` holds."""
    return {
        "file": str(path),
        "changes": [
            {**asdict(change), "slowdown_pct": change.slowdown_pct, "certain": change.is_certain}
            for change in changes
        ],
        "gate_pct": gate_pct,
        "passed": gate_pct is None or not any(change.fails(gate_pct) for change in changes),
    }


def read_runs(path: Path) -> tuple[Run, ...]:
    """Return the runs in a file that ``mlm bench -o`` wrote.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not such a file.
    """
    wrong = UsageError(
        f"{path} was not written by `mlm bench -o`", remedy=f"mlm bench REF -o {path}"
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
            f"cannot read {path}: {error.strerror}", remedy=f"mlm bench REF -o {path}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise wrong from error


def _read_run(row: dict[str, Any]) -> Run:
    """Return one run; fields that a later version added are passed over."""
    run = Run(**{field.name: row[field.name] for field in fields(Run)})
    figures = (run.ttft_ms, run.e2e_ms, run.decode_tps)
    if not isinstance(run.prompt, str) or not all(
        figure is None or (isinstance(figure, int | float) and figure >= 0) for figure in figures
    ):
        raise ValueError("a figure is not a number")
    return run
