"""What a probe for one vendor's accelerators reports."""

from dataclasses import dataclass

from mlm.hardware.types import Accelerator


@dataclass(frozen=True, slots=True)
class Probe:
    """The accelerators found, and why there may be fewer than the machine holds.

    ``index`` counts within the probe; `mlm.hardware.detect` makes it dense over all vendors.
    """

    accelerators: tuple[Accelerator, ...] = ()
    source: str = ""  # where the figures come from
    problem: str | None = None  # hardware or a driver is there, but could not be asked
