"""The engine is built beside the old one, has to prove itself, and only then takes its place."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import llama_cpp
import pytest

from mlm.demo.question import DEMO_QUESTION
from mlm.engine.build import BrokenEngine, Check, check_build, describe_build, judge_gpus
from mlm.engine.install import CannotBuild, Workshop, ensure_engine, install_engine
from mlm.engine.installer import Installer, join_requirements, select_requirements
from mlm.engine.recipe import Missing, Recipe
from mlm.errors import EngineError
from mlm.hardware.detect import survey_hardware
from mlm.hardware.types import Accelerator
from mlm.paths import Home
from mlm.units import GIB

REAL = Path(llama_cpp.__file__).parent
PIP = Path(__file__).parents[1] / "fakes" / "pip_program.py"
CPU = Recipe("cpu", ("-DA=B", "-DC=D;E"), 2, ("no GPU is seen",), ())
INSTALLER = Installer(Path(sys.executable))
LEND_LIBRARIES = f"""
import os, pathlib
_mine = pathlib.Path(__file__).with_name("lib")
if not _mine.exists():
    os.symlink({str(REAL / "lib")!r}, _mine)
"""


class Site:
    """A place that packages are installed to, and a pip that does it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.package, self.site = folder / "llama_cpp", folder / "site"
        self.log, self.home = folder / "pip.jsonl", Home(folder / "home")
        self.told: list[str] = []
        self._environ = monkeypatch
        for path in (folder / "tools" / "pip", self.site):
            path.mkdir(parents=True)
        (folder / "tools" / "pip" / "__init__.py").touch()
        shutil.copy(PIP, folder / "tools" / "pip" / "__main__.py")
        places = [str(folder / "tools"), str(self.site), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
        for name, path in (("PACKAGE", self.package), ("SITE", self.site), ("LOG", self.log)):
            monkeypatch.setenv(f"FAKE_PIP_{name}", str(path))
        shutil.copytree(REAL, self.package, ignore=shutil.ignore_patterns("__pycache__", "lib"))
        init = self.package / "__init__.py"
        init.write_text(LEND_LIBRARIES + init.read_text().replace(llama_cpp.__version__, "0.3.99"))

    def spoil(self, name: str, code: str) -> None:
        """Let what will be built end with ``code`` in a module."""
        with (self.package / name).open("a") as module:
            module.write(f"\n{code}\n")

    def fail(self, command: str) -> None:
        self._environ.setenv("FAKE_PIP_FAILS", command)

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.home, DEMO_QUESTION, self.told.append)

    @property
    def commands(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def left(self) -> list[str]:
        """What is installed, and what has not been cleared away."""
        return [path.name for path in (*self.site.iterdir(), *self.home.cache.iterdir())]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_a_build_that_answers_rightly_takes_the_place_of_the_old_one(site: Site, monkeypatch):
    (site.home.cache / "engine-killed").mkdir(parents=True)
    monkeypatch.setenv("CMAKE_ARGS", "-DMINE=1")
    build = install_engine(CPU, INSTALLER, site.workshop)
    assert (build.version, build.folder) == ("0.3.99", site.site / "llama_cpp")
    wheel, rest, replaced = site.commands
    assert wheel["requirements"] == ["llama-cpp-python<0.4,>=0.3.36"]
    assert (wheel["no_binary"], wheel["no_cache"]) == ("llama-cpp-python", True)
    assert (wheel["CMAKE_ARGS"], wheel["jobs"]) == ("-DMINE=1 -DA=B -DC=D;E", "2")
    assert {"jinja2>=3.1.6", "starlette>=1.0.1", "numpy>=1.20.0"} < set(rest["requirements"])
    assert not any("fastapi" in text or "llama" in text for text in rest["requirements"])
    assert replaced["requirements"][0].endswith(".whl")
    assert " 50 % compiled" in site.told and len(site.told) < 16
    assert "[300/300] Building" in (site.home.logs / "engine-install.log").read_text()
    assert site.left == ["llama_cpp", "llama_cpp_python-0.3.99.dist-info"]


@pytest.mark.parametrize(
    ("module", "code", "why"),
    [
        ("__init__.py", "import os; os.abort()", "SIGABRT"),
        ("__init__.py", "raise ImportError('libcuda.so.1: no such file')", "libcuda.so.1"),
        ("llama_cpp.py", "def llama_token_to_piece(*_): return 0", "answers wrongly"),
    ],
)
def test_a_build_that_fails_its_trial_is_not_installed(site: Site, module, code, why):
    site.spoil(module, code)
    with pytest.raises(BrokenEngine, match=why):
        install_engine(CPU, INSTALLER, site.workshop)
    assert site.left == []
    assert describe_build().folder == REAL


def test_a_build_without_the_back_end_that_was_asked_for_is_not_installed(site: Site):
    with pytest.raises(EngineError, match="it came out with cpu, not cuda"):
        install_engine(replace(CPU, backend="cuda"), INSTALLER, site.workshop)
    assert site.left == []


@pytest.mark.parametrize("command", ["wheel", "install"])
def test_when_pip_fails_the_first_complaint_and_the_log_are_named(site: Site, command: str):
    site.fail(command)
    with pytest.raises(EngineError, match="Could not find CUDA") as failure:
        install_engine(CPU, INSTALLER, site.workshop)
    log = site.home.logs / "engine-install.log"
    assert str(log) in str(failure.value.remedy)
    assert "ERROR: Failed building wheel" in log.read_text()
    assert site.left == []


def test_without_tools_nothing_is_begun(site: Site):
    lacking = replace(CPU, missing=(Missing("a C++ compiler", "apt install build-essential"),))
    with pytest.raises(CannotBuild, match="without a C") as failure:
        install_engine(lacking, INSTALLER, site.workshop)
    assert failure.value.remedy == "apt install build-essential"
    assert not site.log.exists()


def test_without_pip_the_command_that_cannot_be_run_is_named(site: Site, tmp_path: Path):
    with pytest.raises(EngineError, match="no-python"):
        install_engine(CPU, Installer(tmp_path / "no-python"), site.workshop)


def test_an_engine_that_works_is_left_alone(site: Site):
    build = ensure_engine(survey_hardware(), site.workshop, "cpu")
    assert build.folder == REAL
    assert not site.log.exists()


def test_an_engine_of_another_version_than_the_one_asked_for_is_replaced(site: Site):
    workshop = replace(site.workshop, version="0.3.99")
    assert ensure_engine(survey_hardware(), workshop, "cpu").version == "0.3.99"
    wheel, rest, _ = site.commands
    assert wheel["requirements"] == ["llama-cpp-python==0.3.99"]
    assert not any("llama" in text for text in rest["requirements"])
    assert ensure_engine(survey_hardware(), workshop, "cpu").version == "0.3.99"
    assert len(site.commands) == 3


def test_an_engine_that_does_not_work_is_replaced(site: Site, monkeypatch):
    shutil.copytree(site.package, site.site / "llama_cpp")
    (site.site / "llama_cpp" / "llama_cpp.py").write_text("raise ImportError('half a package')")
    plain = replace(survey_hardware(), accelerators=())
    build = ensure_engine(plain, site.workshop)
    assert build.version == "0.3.99"


# What is installed


def test_a_build_says_what_it_is():
    build = describe_build()
    assert build.version == llama_cpp.__version__
    assert "cpu" in build.backends
    assert build.devices and build.cpu_features
    names = [check.name for check in check_build(build, DEMO_QUESTION) if check.status != "warn"]
    assert names[:2] == ["load", "answer"]


def test_gpus_that_the_build_cannot_use_are_a_warning():
    build = replace(describe_build(), devices=(), can_offload=False)
    card = Accelerator(0, "GeForce RTX 4090", "cuda", 24 * GIB, 23 * GIB, None)
    assert judge_gpus(build, ()).status == "ok"
    blind = judge_gpus(build, (card,))
    assert (blind.status, blind.fix) == ("warn", "mlm engine install")
    assert "GeForce RTX 4090 (24.0 GiB)" in blind.detail
    lost = judge_gpus(replace(build, backends=("cuda", "cpu"), can_offload=True), (card,))
    assert lost.status == "warn" and "built for cuda, but finds no device" in lost.detail


def test_checks_fail_with_what_to_do(tmp_path: Path, monkeypatch):
    question = replace(DEMO_QUESTION, expected="something else")
    *_, answer = check_build(describe_build(), question)
    assert (answer.status, answer.fix) == ("fail", "mlm engine install")
    assert isinstance(answer, Check) and "answers wrongly" in answer.detail


# The commands


def test_uv_is_used_where_the_environment_has_no_pip(tmp_path: Path):
    installer = Installer(Path("/env/bin/python"), Path("/usr/bin/uv"))
    head = ["/usr/bin/uv", "pip", "install", "--python", "/env/bin/python"]
    build = installer.build("llama-cpp-python>=0.3.36", tmp_path)
    assert build[:5] == head and build[-1] == "llama-cpp-python>=0.3.36"
    assert build[build.index("--cache-dir") + 1].startswith(str(tmp_path))
    assert installer.replace(Path("x.whl"))[:5] == head


def test_the_line_to_paste_is_one_line_with_the_flags_quoted():
    line = INSTALLER.one_line(CPU, ["llama-cpp-python>=0.3.36", "jinja2>=3.1.6"])
    assert "\n" not in line
    assert "CMAKE_ARGS='-DA=B -DC=D;E'" in line
    assert line.count("jinja2") == 1


def test_requirements_are_those_of_the_extra_that_hold_here():
    asked = [
        "rich>=13",
        "msgspec>=0.20; extra == 'llama'",
        "uvloop>=0.21; (sys_platform != 'nowhere') and extra == 'llama'",
        "winloop; sys_platform == 'nowhere' and extra == 'llama'",
        "pytest; extra == 'dev'",
    ]
    assert select_requirements(asked, extra="llama") == ["msgspec>=0.20", "uvloop>=0.21"]
    assert select_requirements(asked) == ["rich>=13"]
    assert join_requirements(["a>=2"], ["a>=1", "b"]) == ["a>=2", "b"]
