"""Building and installing the engine, so that one that works is never lost.

The new build is made beside the old one, has to answer a question from there, and only then takes
the old one's place.
"""

import contextlib
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

from mlm.engine.build import (
    EngineBuild,
    Question,
    check_build,
    describe_build,
    require_passed,
    require_working,
)
from mlm.engine.installer import (
    PACKAGE,
    WHEEL,
    Installer,
    build_environment,
    find_requirements,
    join_requirements,
    requirements_of,
)
from mlm.engine.recipe import Backend, Recipe, choose_recipe
from mlm.engine.spawn import kill_worker
from mlm.engine.toolchain import find_toolchain
from mlm.errors import EngineError
from mlm.hardware.types import Hardware
from mlm.paths import Home
from mlm.store.lock import locked
from mlm.store.space import writing_to

_STEP = re.compile(r"\[\s*(\d+)/(\d+)\]|^\s*\[\s*(\d+)%\]")  # of ninja, of make
_COMPLAINT = re.compile(r"CMake Error|fatal error|\berror: |^ERROR|No space left on device")
_TOLD_EVERY_PCT = 10
_PREFIX = "engine-"  # of the folder that a build is made in


class CannotBuild(EngineError):
    """Something is missing that the build needs."""

    code = "engine_toolchain"

    def __init__(self, recipe: Recipe) -> None:
        names = " and ".join(missing.what for missing in recipe.missing)
        remedy = "; ".join(missing.fix for missing in recipe.missing)
        if recipe.backend != "cpu":
            remedy += "; or without the GPU: mlm engine install --backend cpu"
        super().__init__(
            f"the engine cannot be built for {recipe.backend} without {names}", remedy=remedy
        )


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where an engine is built, and what it has to answer before it is installed."""

    home: Home
    question: Question
    tell: Callable[[str], None] = lambda text: None  # what to show a person
    version: str | None = None  # of llama-cpp-python; None: what mlm itself asks for

    @property
    def log_path(self) -> Path:
        """What the last build said."""
        return self.home.logs / "engine-install.log"


def ensure_engine(
    hardware: Hardware, workshop: Workshop, backend: Backend | Literal["auto"] = "auto"
) -> EngineBuild:
    """Return a build that works and suits ``hardware``: the installed one, or else a new one.

    A build of another version than the workshop's never suits. One that works stays when a
    better one cannot be built for want of tools.

    Raises:
        CannotBuild: there is none, and tools to build one are missing.
        EngineError: building fails, or what was built does not work.
    """
    tools = find_toolchain()
    recipe = choose_recipe(hardware, tools, backend)
    installed = _working_build(workshop.question)
    if installed is not None and workshop.version in (None, installed.version):
        if recipe.backend in installed.backends:
            return installed
        if recipe.missing and backend == "auto":
            has = "/".join(installed.backends)
            workshop.tell(f"the engine runs on {has} only: {CannotBuild(recipe).message}")
            return installed
    return install_engine(recipe, Installer(Path(sys.executable), tools.uv), workshop)


def install_engine(recipe: Recipe, installer: Installer, workshop: Workshop) -> EngineBuild:
    """Build by ``recipe``, let the build prove itself, and put it in the place of the old one.

    Raises:
        CannotBuild: tools are missing.
        EngineError: a step fails; what was installed before is still there.
    """
    if recipe.missing:
        raise CannotBuild(recipe)
    log_path, cache = workshop.log_path, workshop.home.cache
    with writing_to(workshop.home.root):
        log_path.parent.mkdir(parents=True, exist_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
    with locked(log_path.with_suffix(".lock")):
        for left in cache.glob(f"{_PREFIX}*"):  # by one that was killed: we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        with (
            TemporaryDirectory(prefix=_PREFIX, dir=cache) as place,
            log_path.open("w", encoding="utf-8", errors="replace") as log,
        ):
            return _Installation(recipe, installer, workshop, Path(place), log).run()


class _Installation:
    """One build from beginning to end; ``folder`` goes afterwards."""

    def __init__(
        self,
        recipe: Recipe,
        installer: Installer,
        workshop: Workshop,
        folder: Path,
        log: IO[str],
    ) -> None:
        self._recipe = recipe
        self._installer = installer
        self._workshop = workshop
        self._folder = folder
        self._log = log

    def run(self) -> EngineBuild:
        requirements, question = find_requirements(), self._workshop.question
        asked = next(text for text in requirements if text.startswith(PACKAGE))
        version = self._workshop.version
        engine = f"{PACKAGE}=={version}" if version else asked
        self._workshop.tell(
            f"building {engine} for {self._recipe.backend}, {self._recipe.jobs} compilers at once"
        )
        self._workshop.tell(f"what they say is in {self._workshop.log_path}")
        self._run(self._installer.build(engine, self._folder), "building")
        wheel = self._find_wheel()
        candidate = self._unpack(wheel)
        others = [text for text in requirements if text != asked]
        self._run(
            self._installer.install(join_requirements(others, requirements_of(candidate))),
            "installing",
        )
        self._workshop.tell("trying the new build")
        build = describe_build(candidate)
        self._require_backend(build)
        require_passed(check_build(build, question, candidate))
        with _undisturbed():
            self._run(self._installer.replace(wheel), "installing")
        importlib.invalidate_caches()
        return require_working(question)

    def _find_wheel(self) -> Path:
        found = sorted(path for path in self._folder.rglob(WHEEL) if path.is_file())
        if not found:
            raise self._failed("building", "no wheel came of it")
        return found[-1]

    def _unpack(self, wheel: Path) -> Path:
        candidate = self._folder / "candidate"
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(candidate)
        return candidate

    def _require_backend(self, build: EngineBuild) -> None:
        if self._recipe.backend not in build.backends:
            has = "/".join(build.backends)
            raise self._failed("building", f"it came out with {has}, not {self._recipe.backend}")

    def _run(self, command: Sequence[str], what: str) -> None:
        """Run a command, its output into the log.

        Raises:
            EngineError: it fails.
        """
        self._log.write(f"$ {' '.join(command)}\n")
        self._log.flush()
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **build_environment(self._recipe, os.environ)},
                start_new_session=True,  # a group, so that the compilers end with it
            )
        except OSError as error:
            raise self._failed(what, f"{command[0]}: {error.strerror}") from error
        complaint = self._follow(child)
        if child.wait() != 0:
            raise self._failed(what, complaint)

    def _follow(self, child: "subprocess.Popen[bytes]") -> str:
        """Write down what a command says, tell how far it is, and return its first complaint."""
        assert child.stdout is not None
        complaint, line, told = "", "", 0
        try:
            for raw in child.stdout:
                line = raw.decode("utf-8", "replace")
                self._log.write(line)
                self._log.flush()
                complaint = complaint or (line.strip() if _COMPLAINT.search(line) else "")
                if (percent := _percent(line)) is not None and percent >= told + _TOLD_EVERY_PCT:
                    told = percent - percent % _TOLD_EVERY_PCT
                    self._workshop.tell(f"{told:3d} % compiled")
        finally:
            if sys.exc_info()[0] is not None:
                kill_worker(child)
                child.wait()
            child.stdout.close()
        return complaint or line.strip() or "it says nothing"

    def _failed(self, what: str, why: str) -> EngineError:
        return EngineError(
            f"{what} failed: {why[:300]}", remedy=f"look into {self._workshop.log_path}"
        )


def _percent(line: str) -> int | None:
    found = _STEP.search(line)
    if not found:
        return None
    if found[3]:
        return int(found[3])
    return 100 * int(found[1]) // max(1, int(found[2]))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put Ctrl-C off until the block ends, also for the processes started in it."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which nobody interrupts
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _working_build(question: Question) -> EngineBuild | None:
    try:
        return require_working(question)
    except EngineError:
        return None
