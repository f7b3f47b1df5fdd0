"""What the server says of itself: models, health, figures."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import mlm
from mlm.engine.messages import STEP_BOUNDS_S, Ready
from mlm.engine.process import Worker
from mlm.server.access import describe_request
from mlm.server.errors import ApiError
from mlm.server.metrics import Metrics
from mlm.server.model import worker_config
from mlm.server.resident import Resident
from mlm.server.services import Services
from mlm.server.vitals import MachineLoad, ProcessLoad
from mlm.stats.summary import summarise_cache, summarise_groups

_NO_STORE = {"cache-control": "no-store"}


class Report:
    """The endpoints that answer with a document about the server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._metrics = Metrics(services)

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: the served models in command-line order, then the installed ones."""
        ids = await self._services.shelf.ids()
        models = [self._model(model_id, sees=sees) for model_id, sees in ids.items()]
        return json_response({"object": "list", "data": models})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/ID``."""
        found = await self._services.shelf.find(request.path_params["model_id"])
        return json_response(self._model(found.model_id, sees=found.mmproj is not None))

    async def health(self, request: Request) -> Response:
        """``GET /health``: the server itself lives."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """``GET /ready``: 200 while new requests are welcome and the first models are loaded."""
        services = self._services
        if services.draining or not services.preloaded:
            status = "draining" if services.draining else "loading"
            return json_response({"status": status}, status=503)
        return json_response({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``: the same figures for Prometheus."""
        page, kind = await self._metrics.write(request.headers.get("accept", ""))
        return Response(page, headers=_NO_STORE | {"content-type": kind})

    async def stats(self, request: Request) -> Response:
        """``GET /admin/stats``: ``mlm.stats/1`` since the start of this server."""
        services = self._services
        recorder = services.recorder
        machine, gpus = await services.vitals.read()
        processes = machine.processes if machine else {}
        return json_response(
            {
                "schema": "mlm.stats/1",
                "mlm_version": mlm.__version__,
                "since": services.started_at,
                "needs_key": services.keys.required,
                "models": summarise_groups("model", recorder.models),
                "response_cache": await services.cache.count()
                | summarise_cache(recorder.models.values()),
                "system": self._system(machine) | {"gpus": [asdict(gpu) for gpu in gpus]},
                "resident": [
                    describe(resident) | _describe_worker(resident.worker, processes)
                    for resident in services.pool.residents
                ],
                "recent": [describe_request(request) for request in recorder.recent],
            }
        )

    async def clear_cache(self, request: Request) -> Response:
        """``POST /admin/clear-cache``: forget all cached responses."""
        return json_response({"cleared": await self._services.cache.clear()})

    def _model(self, model_id: str, *, sees: bool) -> dict[str, Any]:
        """Return OpenAI's object for a model; what is known of a loaded one is in ``meta``."""
        state, ready = "stopped", None
        if (resident := self._services.pool.find(model_id)) is not None:
            state = resident.state
            ready = resident.worker.ready if resident.worker else None
        document = {
            "id": model_id,
            "object": "model",
            "created": int(self._services.started_at),
            "owned_by": "mlm",
            "state": state,
            "input_modalities": ["text", "image"] if sees else ["text"],
        }
        return document | ({"meta": _meta(ready)} if ready else {})

    def _system(self, machine: MachineLoad | None) -> dict[str, Any]:
        own = machine.processes.get(os.getpid()) if machine else None
        return {
            "pid": os.getpid(),
            "uptime_s": time.time() - self._services.started_at,
            "cpu_percent": own.cpu_percent if own else None,
            "cpu_s": own.cpu_s if own else None,
            "rss_bytes": own.rss_bytes if own else None,
            "fds": own.fds if own else None,
            "threads": own.threads if own else None,
            "host": asdict(machine.host) if machine else None,
            "history_dropped": self._services.recorder.dropped,
        }


def describe(resident: Resident) -> dict[str, Any]:
    """Return the state of a model in the pool."""
    return {
        "model": resident.model.model_id,
        "state": resident.state,
        "progress": resident.progress,
        "pid": resident.worker.pid if resident.worker else None,
        "active": resident.active,
        "waiting": max(resident.admitted - resident.active, 0),
        "memory_bytes": sum(resident.memory_by_device.values()),
        "memory_by_device": resident.memory_by_device,
        "config": msgspec.to_builtins(worker_config(resident.config)),
        "loads": resident.loads,
        "crashes": resident.crashes,
        "trouble": resident.setbacks.reason or None,
        "pinned": resident.pinned,
        "ttl_s": resident.ttl_s,
        "idle_s": resident.idle_s,
    }


def _describe_worker(worker: Worker | None, processes: Mapping[int, ProcessLoad]) -> dict[str, Any]:
    """Return what a worker takes, and what it has done since it loaded its model.

    The latter is as of its last heartbeat.
    """
    load = processes.get(worker.pid) if worker else None
    work = worker.work if worker else None
    return {
        "process": asdict(load) if load else None,
        "work": msgspec.to_builtins(work) | {"step_bounds_s": STEP_BOUNDS_S} if work else None,
    }


def _meta(ready: Ready) -> dict[str, Any]:
    return {
        "n_ctx": ready.n_ctx,
        "n_ctx_slot": ready.n_ctx_slot,
        "n_ctx_train": ready.n_ctx_train,
        "n_parallel": ready.n_parallel,
        "n_params": ready.n_params,
        "engine": ready.engine,
    }


def json_response(document: object, *, status: int = 200) -> Response:
    """Return a document that nobody is to keep."""
    content = msgspec.json.encode(document)
    return Response(content, status, headers=_NO_STORE, media_type="application/json")


def error_response(error: ApiError) -> Response:
    """Return the response that an error becomes."""
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return Response(error.body, error.status, headers)
