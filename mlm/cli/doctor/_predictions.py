"""Have predictions come true on this machine?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlm.cli.doctor._finding import Finding
from mlm.planning.track_record import TrackRecord, sum_up
from mlm.settings import Settings

if TYPE_CHECKING:
    from mlm.planning.track_record import Record

NOTHING_YET = "nothing measured yet: mlm bench REF"
_WORDS = {
    "weights": "weights",
    "repack": "repacked weights",
    "kv_cache": "KV cache",
    "compute": "compute buffers",
    "output": "output buffer",
    "rss": "process, at its peak",
    "device_memory": "process, on the GPU",
    "decode_tps": "decode tokens/s",
    "prefill_tps": "prefill tokens/s",
}


def check_predictions(settings: Settings) -> Iterator[Finding]:
    """What was predicted came true, as far as anything has run here."""
    record = read_record(settings)[1]
    if not record.records:
        yield Finding("predicted", "ok", NOTHING_YET)
        return
    parts = []
    if record.memory_bias is not None:
        parts.append(f"memory {_signed(record.memory_bias)}")
    for quantity in ("decode_tps", "prefill_tps"):
        if (speed := record.find(quantity)) is not None:
            correction = f", now x{speed.correction:.2f}" if speed.correction else ""
            parts.append(f"{quantity.removesuffix('_tps')} speed {_signed(speed.bias)}{correction}")
    models = f"{record.n_models} model{'s' if record.n_models > 1 else ''}"
    detail = f"of what was predicted for {models}: {'; '.join(parts) or 'too little measured'}"
    if record.findings:
        detail += f"; {'; '.join(record.findings)}"
        yield Finding("predicted", "warn", detail, "mlm doctor --predictions")
    else:
        yield Finding("predicted", "ok", detail)


def read_record(settings: Settings) -> tuple[str, TrackRecord]:
    """Return the fingerprint of this machine, and what became of the predictions for it."""
    from mlm.hardware.cached import recall_hardware
    from mlm.stats.ledger import read_ledger

    machine = recall_hardware(settings.home.cache).fingerprint
    return machine, sum_up(read_ledger(settings.home.ledger_db, machine))


def record_fields(machine: str, record: TrackRecord) -> dict[str, Any]:
    """Return the fields of ``mlm.doctor.predictions/1``."""
    return {
        "machine": machine,
        "engine": record.engine,
        "models": record.n_models,
        "memory_bias": _round(record.memory_bias),
        "predictions": [
            {
                "device": row.device,
                "quantity": row.quantity,
                "observations": row.n,
                "models": row.n_models,
                "bias": _round(row.bias),
                "p10": _round(row.low),
                "p90": _round(row.high),
                "correction": _round(row.correction),
                "attention_correction": _round(row.attention_correction),
            }
            for row in record.records
        ],
        "findings": list(record.findings),
    }


def record_text(record: TrackRecord) -> str:
    """Return the same for people."""
    from mlm.cli._columns import align, wrap

    if not record.records:
        return NOTHING_YET
    rows: list[tuple[str, ...]] = [("DEVICE", "QUANTITY", "TIMES", "BIAS", "SPREAD", "CORRECTION")]
    rows += [_cells(row) for row in record.records]
    lines = [
        wrap(
            f"What came of the predictions here, by {record.engine}. Bias: of what was predicted, "
            "the median over models. Spread: eight of ten. Correction: of weights / of attention."
        ),
        "",
        align(rows, right=(2, 3, 5)),
    ]
    if record.memory_bias is not None:
        lines += ["", f"All buffers of a load together: {_signed(record.memory_bias)}"]
    lines += [wrap(f"warn: {finding}") for finding in record.findings]
    return "\n".join(lines)


def _cells(row: "Record") -> tuple[str, ...]:
    parts = (row.correction, row.attention_correction)
    # Often both are one: then one says it.
    factors = dict.fromkeys(f"x{part:.2f}" for part in parts if part is not None)
    correction = " / ".join(factors) or "none"
    spread = f"{_signed(row.low)} to {_signed(row.high)}"
    return (row.device, _WORDS[row.quantity], str(row.n), _signed(row.bias), spread, correction)


def _signed(share: float) -> str:
    return f"{round(share * 100, 1) + 0.0:+.1f} %"  # never -0.0


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
