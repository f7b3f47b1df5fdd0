"""The process behind `fake_server`: it serves fake workers and prints events as JSON lines."""

import gc
import hashlib
import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from mlm.engine.spawn import Launch
from mlm.errors import MlmError, NotFoundError
from mlm.paths import Home
from mlm.planning.types import DevicePlan, MemoryPlan, RuntimeConfig
from mlm.server.keys import Keys
from mlm.server.model import Installed, ServedModel
from mlm.server.options import ServeOptions
from mlm.server.run import serve
from mlm.server.shelf import Shelf

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
GIB = 1024**3


def fake_model(
    path: Path, *, size: int = GIB, available: int = 8 * GIB, sees: bool = False, **config: Any
) -> ServedModel:
    """Return a model whose file says how the fake worker behaves; its id is the file's stem."""
    settings = {"n_ctx": 4096, "n_parallel": 4, "n_batch": 512, "n_ubatch": 512, "n_gpu_layers": 0}
    threads = {"n_threads": 1, "n_threads_batch": 1}
    return ServedModel(
        model_id=path.stem,
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        config=RuntimeConfig(**settings | threads | config),
        memory=MemoryPlan(
            grade="computed",
            devices=(DevicePlan("cpu", size, 0, 0, 0, 0, 0, available),),
            verdict="fits",
            reasons=(),
        ),
        mmproj=path.with_suffix(".mmproj") if sees else None,
    )


def main(given: dict[str, Any]) -> int:
    """Serve what `fake_server.serving` was asked for; return the exit code."""
    folder = Path(given["folder"])
    served, installed = [], {}
    for model_id, behaviour in given["models"].items():
        path = folder / f"{model_id}.fake"
        planned = {
            name: behaviour.pop(name) for name in ("size", "available", "sees") if name in behaviour
        }
        config, on_shelf = behaviour.pop("config", {}), behaviour.pop("installed", False)
        path.write_text(json.dumps(behaviour), encoding="utf-8")
        model = fake_model(path, **planned, **config)
        if on_shelf:
            installed[model_id] = model
        else:
            served.append(model)

    def find(model_id: str) -> ServedModel:
        if model_id not in installed:
            raise NotFoundError(f"no {model_id}")
        return installed[model_id]

    def list_installed() -> dict[str, Installed]:
        return {
            model_id: Installed(model.path, model.mmproj is not None)
            for model_id, model in sorted(installed.items())
        }

    home = Home(folder / "home")
    key_file = Path(given["key_file"]) if "key_file" in given else None
    names = (
        "host",
        "port",
        "private",
        "max_models",
        "max_queue",
        "max_connections",
        "max_wait_s",
        "ttl_s",
    )
    chosen = {name: given[name] for name in names if name in given}
    try:
        options = ServeOptions(
            **{"port": 0} | chosen,
            pinned=frozenset(given.get("pinned", ())),
            keys=Keys.open(home.keys, key_file),
            allowed_hosts=tuple(given.get("allowed_hosts", ())),
            launch=Launch(FAKE_WORKER),
        )
        serve(Shelf(served, find, list_installed), options, home, _tell)
    except MlmError as error:
        _say({"kind": "failed", "code": error.code, "message": error.message})
        return error.exit_code
    return 0


def _tell(event: object) -> None:
    assert is_dataclass(event) and not isinstance(event, type)
    _say({"kind": type(event).__name__, **asdict(event), "frozen": gc.get_freeze_count()})


def _say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
