"""A home, a cache and an environment below one folder, and real processes that live in them."""

import contextlib
import functools
import io
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from fakes.hub import FakeHub
from fakes.result import Result

from mlm.catalog.load import load_catalog
from mlm.cli.app import run
from mlm.errors import ExitCode
from mlm.paths import Home

ROOT = Path(__file__).parents[2]
MLM = (sys.executable, "-m", "mlm")
FOREIGN = ("MLM_", "HF_", "HUGGING", "XDG_", "HTTP", "ALL_PROXY", "SSL_")


class Done(Result):
    """… in a house."""

    def expect(self, *codes: int) -> "Done":
        """Make sure that it ended so, and if badly, then with all that a person needs."""
        said = f"exit code {self.exit_code}\n{self.stdout}\n{self.stderr}"
        assert "Traceback" not in self.stdout + self.stderr, said
        assert self.exit_code != ExitCode.BUG, said
        assert not codes or self.exit_code in codes, said
        if self.exit_code in set(ExitCode) - {ExitCode.OK, ExitCode.INTERRUPTED}:
            error = self.json["error"]
            assert error["code"] and error["message"] and error["remedy"], said
            assert error["exit_code"] == self.exit_code, said
        return self


@dataclass(frozen=True)
class House:
    """``folder`` holds everything; nothing outside it may change."""

    folder: Path
    hub: FakeHub

    @property
    def home(self) -> Path:
        return self.folder / "mlm-home"

    @property
    def cache(self) -> Path:
        """Where model files land."""
        return self.folder / "hf-home" / "hub"

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of whoever lives here."""
        kept = {n: v for n, v in os.environ.items() if not n.upper().startswith(FOREIGN)}
        return kept | {
            "MLM_HOME": str(self.home),
            "HF_HOME": str(self.folder / "hf-home"),
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "NO_COLOR": "1",
            "COLUMNS": "80",
            "PYTHONPATH": str(ROOT),
        } | more  # fmt: skip

    def start(
        self, *words: str, prefix: tuple[str, ...] = MLM, **environ: str
    ) -> subprocess.Popen[str]:
        """Start a command as a process."""
        return subprocess.Popen(
            [*prefix, *words],
            env=self.environ(**environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, prefix: tuple[str, ...] = MLM, **environ: str) -> Done:
        """Run a command as a process."""
        return finish(self.start(*words, prefix=prefix, **environ))

    def run_here(self, *words: str, **environ: str) -> Done:
        """Run a command in this process: ten times as fast."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            mock.patch.dict(os.environ, self.environ(**environ), clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(list(words))
            out.flush()
            err.flush()
        texts = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
        return Done(code, *texts)

    def leftovers(self) -> list[str]:
        """Return the names of what no finished download leaves."""
        return [
            str(path.relative_to(self.cache))
            for path in self.cache.rglob("*")
            if any(word in path.name for word in ("partial", "unfinished", "journal", ".tmp"))
        ]

    def arrived(self) -> list[Path]:
        """Return the files that have a final name."""
        return [*self.cache.glob("*/snapshots/*/**/*.gguf")]


def finish(process: subprocess.Popen[str], timeout_s: float = 100) -> Done:
    """Wait until a process ends."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"it never ended\n{stdout}\n{stderr}") from None
    return Done(process.returncode, stdout, stderr)


@contextlib.contextmanager
def living_in(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[House]:
    """Yield a house below ``folder`` with a hub of its own, and a catalog that has been read."""
    with FakeHub(tls=tls) as hub:
        house = House(folder, hub)
        for name, content in _catalog_cache().items():
            path = Home(house.home).cache / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield house


@functools.cache
def _catalog_cache() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        load_catalog(home.catalog, home.cache)
        return {path.name: path.read_bytes() for path in home.cache.iterdir()}
