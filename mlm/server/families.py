"""Metric families of Prometheus, written briefly. What is not known makes no sample."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)
Sample = tuple[tuple[str, ...], float | None]  # values of the labels, and what was measured
Buckets = tuple[tuple[str, ...], Sequence[int], float]  # labels; how many per class; their sum


def gauge(name: str, meaning: str, labels: str, samples: Iterable[Sample]) -> GaugeMetricFamily:
    """Return what goes up and down. ``labels`` are separated by spaces."""
    return _filled(GaugeMetricFamily(name, meaning, labels=labels.split()), samples)


def counter(name: str, meaning: str, labels: str, samples: Iterable[Sample]) -> CounterMetricFamily:
    """Return what only grows; its name ends in ``_total``."""
    return _filled(CounterMetricFamily(name, meaning, labels=labels.split()), samples)


def histogram(
    name: str, meaning: str, labels: str, bounds_s: Sequence[float], samples: Iterable[Buckets]
) -> HistogramMetricFamily:
    """Return how seconds are spread: how many up to each bound, then all."""
    family = HistogramMetricFamily(name, meaning, labels=labels.split())
    names = [*map(floatToGoString, bounds_s), "+Inf"]
    for values, counts, total in samples:
        family.add_metric(values, list(zip(names, map(float, counts), strict=True)), total)
    return family


def _filled(family: Family, samples: Iterable[Sample]) -> Family:
    """Return ``family`` with what is known."""
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family
