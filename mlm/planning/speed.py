"""How fast a model will run: always an interval, as machines differ from their data sheets.

Decoding reads every active weight and the KV cache once per token; prefill multiplies. Each device
takes its time for its layers, one device after the other. `mlm.planning.cpu_speed` and
`mlm.planning.gpu_speed` say how much.
"""

from collections.abc import Iterable

from mlm.hardware.types import Hardware
from mlm.planning.calibration import NOTHING_KNOWN, Calibration, Correction
from mlm.planning.cpu_speed import time_on_cpu
from mlm.planning.gpu_speed import time_on_accelerator
from mlm.planning.placement import Part, placement_of, split_model
from mlm.planning.traffic import Seconds
from mlm.planning.types import ModelShape, RuntimeConfig, SpeedInterval
from mlm.stats.types import Quantity, variant_name

TYPICAL_TOKENS = 1024  # in the context, where nobody says how many
# Of the published results nine of ten lie in the first, which is for accelerators whose bandwidth
# is known. The second is for a CPU whose arithmetic was measured: of three models at three contexts
# on three virtual machines, 26 of 27 figures lie in it. The third is for a CPU of
# which only the bandwidth is known, the last for what had to be assumed altogether.
_KNOWN, _MEASURED, _HALF_KNOWN, _ASSUMED = (0.75, 1.25), (0.7, 1.5), (0.6, 1.4), (0.4, 2.0)
_LEAST = Seconds(1e-9, 0.0)  # a header may describe a model with nothing to compute
_PREFILL = (0.45, 1.9)  # as wide as published results are; they depend on builds more than decoding


def predict_speed(
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    *,
    n_past: int = TYPICAL_TOKENS,
    calibration: Calibration = NOTHING_KNOWN,
    model: str | None = None,
) -> tuple[SpeedInterval, SpeedInterval]:
    """Return tokens per second of (decode, prefill) for one request alone.

    Counted with ``n_past`` tokens in the context, or as many as fit a slot; of a prompt that is
    the mean over its tokens. With a ``calibration`` from the machine's own runs, of this ``model``
    or others, the figures are corrected and the intervals narrower. For vectors only prefill means
    something; the decode figure is the same.
    """
    parts = _parts_in_use(shape, config, hardware)
    decode_time, prefill_time = _add_up(parts, shape, config, hardware, n_past)
    kind = placement_of(parts)
    name = None if model is None else variant_name(model, shape.quant)

    def judge(quantity: Quantity, time: Seconds, certainty: tuple[float, float]) -> SpeedInterval:
        correction = calibration.find(kind, quantity, name, time.attention_share)
        return _correct(_interval(1 / time.total, *certainty), correction)

    prefill = judge("prefill_tps", prefill_time, _PREFILL)
    if shape.embeds:
        return prefill, prefill
    certainty = _certainty(parts, hardware) if shape.is_known else _ASSUMED
    return judge("decode_tps", decode_time, certainty), prefill


def time_token(
    shape: ModelShape, config: RuntimeConfig, hardware: Hardware, *, n_past: int
) -> tuple[Seconds, Seconds]:
    """Return the time that is predicted for one token of (decode, prefill), uncorrected."""
    parts = _parts_in_use(shape, config, hardware)
    return _add_up(parts, shape, config, hardware, n_past)


def _parts_in_use(shape: ModelShape, config: RuntimeConfig, hardware: Hardware) -> list[Part]:
    return [part for part in split_model(shape, config, hardware) if part.n_layer or part.output]


def _add_up(
    parts: Iterable[Part],
    shape: ModelShape,
    config: RuntimeConfig,
    hardware: Hardware,
    n_past: int,
) -> tuple[Seconds, Seconds]:
    decode = prefill = _LEAST
    for part in parts:
        if part.device.accelerator is None:
            decoding, filling = time_on_cpu(part, shape, config, hardware, n_past)
        else:
            decoding, filling = time_on_accelerator(part, shape, config, n_past)
        decode, prefill = decode + decoding, prefill + filling
    return decode, prefill


def _correct(speed: SpeedInterval, correction: Correction | None) -> SpeedInterval:
    """Return ``speed`` as earlier runs have it; never wider than it was."""
    if correction is None:
        return speed
    low = max(speed.low / speed.mid, correction.low)
    high = min(speed.high / speed.mid, correction.high)
    return _interval(speed.mid * correction.factor, low, high)


def _certainty(parts: Iterable[Part], hardware: Hardware) -> tuple[float, float]:
    """Return the ends of the interval, of that device of which least is known."""
    found = [_KNOWN]
    for part in parts:
        if part.device.accelerator is not None:
            is_known = part.device.accelerator.bandwidth_bytes_per_s is not None
            found.append(_KNOWN if is_known else _ASSUMED)
        elif hardware.arithmetic is not None:
            found.append(_MEASURED)
        else:
            is_known = hardware.memory_bandwidth_bytes_per_s is not None
            found.append(_HALF_KNOWN if is_known else _ASSUMED)
    return min(found)


def _interval(mid: float, low: float, high: float) -> SpeedInterval:
    return SpeedInterval(low=mid * low, mid=mid, high=mid * high)
