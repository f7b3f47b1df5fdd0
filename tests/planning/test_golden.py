"""The advice for machines of all sizes, kept as a table that people have read."""

import difflib
from collections.abc import Sequence

import pytest

from mlm.catalog.types import CatalogEntry
from scripts.generate_golden import COMMAND, MACHINES, golden_block, kept_blocks


@pytest.mark.parametrize("name", MACHINES)
def test_the_advice_is_what_it_was_when_somebody_last_read_it(
    shipped: Sequence[CatalogEntry], name: str
):
    kept, now = kept_blocks().get(name, ""), golden_block(shipped, name)
    if kept == now:
        return
    changes = difflib.unified_diff(kept.splitlines(), now.splitlines(), "kept", "now", lineterm="")
    pytest.fail(
        "the advice has changed. If it is as good as before, keep it with: "
        f"PYTHONPATH=. {COMMAND}\n" + "\n".join(changes)
    )


def test_the_table_goes_from_a_raspberry_pi_to_a_rack():
    assert len(MACHINES) >= 25
    assert list(kept_blocks()) == list(MACHINES)
