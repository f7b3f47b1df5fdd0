"""What this machine's own runs say of the predictions for it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.hardware.types import Hardware
    from mlm.planning.calibration import Calibration


def read_calibration(session: "Session", hardware: "Hardware") -> "Calibration":
    """Return the corrections for ``hardware``; none for a machine other than this one."""
    from mlm.planning.calibration import NOTHING_KNOWN, calibrate

    ledger = session.settings.home.ledger_db
    if not ledger.exists():
        return NOTHING_KNOWN  # without loading SQLite
    from mlm.stats.ledger import read_ledger

    return calibrate(read_ledger(ledger, hardware.fingerprint))
