"""For commands that should run in a home that has been used before: its caches are warm.

A fresh home makes every command parse the catalog and measure memory and arithmetic first. That
is tested where it belongs; elsewhere it would be half of the time of all tests.
"""

import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlm.catalog.load import load_catalog
from mlm.engine.rate import with_arithmetic
from mlm.hardware.cached import cached_hardware


@pytest.fixture(scope="session")
def used_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mlm keeps between runs."""
    folder = tmp_path_factory.mktemp("used-cache")
    load_catalog(folder / "no-catalog-of-the-users", folder)
    with_arithmetic(cached_hardware(folder), folder)
    path = folder / "hardware.json"
    if path.exists():  # not where a table knows the bandwidth
        kept = json.loads(path.read_text())
        path.write_text(json.dumps(kept | {"fresh_until": time.time() + 3000}))  # busy or not
    return folder


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the ``mlm.yaml`` of the folder that the test stands in; returns where its lock is."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def put(text: str) -> Path:
        (folder / "mlm.yaml").write_text(text, encoding="utf-8")
        return folder / "mlm.lock"

    return put


@pytest.fixture
def no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put nothing on stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.fixture
def warm_home(isolated: None, home: Path, used_cache: Path) -> None:
    """Put the caches into the test's home."""
    shutil.copytree(used_cache, home / "cache")
