"""The house keeps its shape: floors, no cycles, small files and functions, a light front door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mlm"
FLOORS = {
    "errors": 0, "paths": 0, "units": 0, "settings": 0, "strictyaml": 0,
    "strictjson": 0, "text": 0, "pictures": 0, "terminal": 0,
    "hardware": 1, "gguf": 1, "catalog": 1, "stats": 1,
    "planning": 2, "store": 2, "sessions": 2,
    "engine": 3, "client": 3, "manifest": 3,
    "server": 4, "repl": 4, "bench": 4, "demo": 4, "monitor": 4,
    "completion": 5, "cli": 6, "__main__": 7,
}  # fmt: skip
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 500, 60, 6
ABSENT_AT_START = (
    "PIL", "asyncio", "huggingface_hub", "httpx2", "jinja2", "llama_cpp", "msgspec", "numpy",
    "platformdirs", "prometheus_client", "prompt_toolkit", "psutil", "pydantic", "pynvml",
    "rich", "sqlite3", "starlette", "urllib.request", "uvicorn", "yaml",
)  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imports_of(path: Path) -> set[str]:
    """Return the modules of mlm that a file imports, anywhere in it, lazily or not."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return {name for name in found if name.split(".")[0] == "mlm"}


def room(module: str) -> str:
    """Return the room of a module: ``mlm.store.hub`` is in ``store``; ``mlm`` itself is ground."""
    return module.split(".")[1] if "." in module else "errors"


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} <= set(FLOORS)


def test_imports_go_down_or_stay_in_the_room():
    climbing = [
        f"{module} imports {imported}"
        for module, path in MODULES.items()
        for imported in imports_of(path)
        if room(module) != room(imported) and FLOORS[room(imported)] >= FLOORS[room(module)] > 0
    ]
    assert climbing == []


def test_there_is_no_import_cycle_not_even_a_lazy_one():
    graph = {module: imports_of(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    while True:
        leaves = {module for module, imported in graph.items() if not imported & set(graph)}
        if not leaves:
            break
        graph = {module: imported for module, imported in graph.items() if module not in leaves}
    assert sorted(graph) == []


def test_llama_cpp_is_imported_in_one_package():
    importers = {
        path.relative_to(ROOT).as_posix()
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any("llama_cpp" in a.name for a in node.names))
        or (isinstance(node, ast.ImportFrom) and str(node.module).startswith("llama_cpp"))
    }
    assert {path.rsplit("/", 1)[0] for path in importers} <= {"mlm/engine/llama"}


def test_files_stay_within_their_budget():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in FILES
        if (lines := path.read_text(encoding="utf-8").count("\n")) > MAX_FILE_LINES
    }
    assert long == {}


def functions():
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path.relative_to(ROOT), node


def test_functions_stay_within_their_budget():
    long = {
        f"{path}:{node.name}": lines
        for path, node in functions()
        if (lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_functions_take_few_parameters():
    wide = {
        f"{path}:{node.name}": count
        for path, node in functions()
        if path.parts[1] != "cli"
        and (count := len([a for a in _parameters(node) if a not in ("self", "cls")]))
        > MAX_PARAMETERS
    }
    assert wide == {}


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = node.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


@pytest.mark.parametrize("drawer", ["utils", "common", "core", "helpers", "manager", "misc"])
def test_no_module_is_a_drawer(drawer: str):
    assert [m for m in MODULES if m.split(".")[-1].strip("_") == drawer] == []


def test_the_front_door_is_light():
    code = f"import sys, mlm.cli.app; print([m for m in {ABSENT_AT_START} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"


def _pins(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.partition(" ")[0] for line in lines if line[:1].isalnum()}


def test_what_runs_is_pinned_as_what_was_tested():
    runs, tested = _pins("requirements-run.lock"), _pins("requirements.lock")
    assert runs < tested, "make lock"
    assert any(pin.startswith("llama-cpp-python==") for pin in runs)
    assert not any(pin.startswith("pytest==") for pin in runs)
