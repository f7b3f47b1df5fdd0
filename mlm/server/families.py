"""Metric families of Prometheus, written briefly. What is not known makes no sample."""

from collections.abc import Iterable, Sequence

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

Sample = tuple[tuple[str, ...], float | None]  # values of the labels, and what was measured
Buckets = tuple[tuple[str, ...], Sequence[int], float]  # labels; how many per class; their sum


def gauge(name: str, meaning: str, labels: str, samples: Iterable[Sample]) -> GaugeMetricFamily:
    """Return what goes up and down. ``labels`` are separated by spaces."""
    family = GaugeMetricFamily(name, meaning, labels=labels.split())
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family


def counter(name: str, meaning: str, labels: str, samples: Iterable[Sample]) -> CounterMetricFamily:
    """Return what only grows; its name ends in ``_total``."""
    family = CounterMetricFamily(name, meaning, labels=labels.split())
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family


def histogram(
    name: str, meaning: str, labels: str, bounds_s: Sequence[float], samples: Iterable[Buckets]
) -> HistogramMetricFamily:
    """Return how seconds are spread: how many up to each bound, then all."""
    family = HistogramMetricFamily(name, meaning, labels=labels.split())
    names = [*map(floatToGoString, bounds_s), "+Inf"]
    for values, counts, total in samples:
        family.add_metric(values, list(zip(names, map(float, counts), strict=True)), total)
    return family
