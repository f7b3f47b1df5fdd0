"""What a server learns of its predictions."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from fakes.facts import GB, MIXTRAL, entry, gpu, machine, quant
from fakes.fake_gateway import FAKE_WORKER, fake_model
from fakes.mlm_serve import DEMO_MODEL
from fakes.real_worker import working

from mlm.engine.messages import Buffer, Finished, Generate, JsonFormat, SamplingParams
from mlm.engine.spawn import Launch
from mlm.gguf.reader import read_metadata
from mlm.planning.calibration import calibrate
from mlm.planning.memory import plan_memory
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog, shape_from_metadata
from mlm.planning.speed import predict_speed
from mlm.server import observer
from mlm.server.answers import Answers
from mlm.server.cache import ResponseCache
from mlm.server.model import Premises, ServedModel, worker_config
from mlm.server.observer import Observer
from mlm.server.pool import Pool, PoolOptions
from mlm.stats.types import Observation
from mlm.units import MIB


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else runs, whatever else runs."""
    monkeypatch.setattr(observer, "read_cpu_pressure", lambda: 0.05)


@dataclass(eq=False)
class ReadyWorker:
    """What the observer asks of a worker."""

    buffers: tuple[Buffer, ...] = ()
    pid: int = 2**31 - 1  # nobody

    @property
    def ready(self) -> Any:
        return SimpleNamespace(engine="the engine", buffers=self.buffers)


def llama_8b(*gpus: Any, bandwidth: int | None = 50 * GB, layers: int | None = None) -> ServedModel:
    """Return a model of five gigabytes that is planned for a machine with such GPUs."""
    hardware = machine(32, *gpus, bandwidth=bandwidth)
    shape = shape_from_catalog(entry(), entry().quants[0])
    config = plan_runtime(shape, hardware, Overrides(n_ctx_slot=4096, n_gpu_layers=layers))
    memory = plan_memory(shape, config, hardware)
    premises = Premises(shape, hardware)
    return ServedModel("llama-8b", Path("/models/x.gguf"), None, config, memory, premises)


def finished(**changes: Any) -> Finished:
    """Return the end of an answer: 1000 tokens read at 250/s, 101 written at 10/s."""
    usual = {"prompt_tokens": 1000, "cached_tokens": 0, "completion_tokens": 101}
    times = {"queue_s": 0.0, "prefill_s": 4.0, "decode_s": 10.0}
    return Finished(request_id=1, reason="stop", **usual | times | changes)


def observe(story: Callable[[Observer], None]) -> list[Observation]:
    """Return what an observer says when the story is over."""
    noted: list[Observation] = []

    async def tell() -> None:
        watching = Observer(noted.append)
        story(watching)
        watching.flush()

    asyncio.run(tell())
    return noted


def test_buffers_are_compared_kind_by_kind():
    model = llama_8b()
    (cpu,) = model.memory.devices
    buffers = (
        Buffer("CPU_Mapped", "weights", cpu.weights - 10),
        Buffer("CPU_REPACK", "repack", 300 * MIB),
        Buffer("CPU", "kv_cache", cpu.kv_cache),
        Buffer("CPU", "compute", cpu.compute * 2),
        Buffer("CPU", "output", cpu.output),
    )
    noted = observe(lambda watching: watching.note_load(model, ReadyWorker(buffers)))
    found = {one.quantity: (one.predicted, one.actual) for one in noted}
    assert found["weights"] == (cpu.weights, cpu.weights - 10)
    assert found["compute"] == (cpu.compute, cpu.compute * 2)
    assert found["kv_cache"] == (cpu.kv_cache, cpu.kv_cache)
    assert found["repack"] == (cpu.repack, 300 * MIB)
    one = noted[0]
    assert (one.device, one.source, one.model, one.engine) == (
        "cpu", "load", "llama-8b", "the engine",
    )  # fmt: skip
    assert (one.architecture, one.quant, one.machine) == ("llama", "Q4_K_M", "test")


def test_room_for_results_that_grows_with_the_inputs_is_no_prediction_of_a_load():
    model = llama_8b()
    model = replace(model, config=replace(model.config, embedding=True))
    buffers = (Buffer("CPU", "kv_cache", 5), Buffer("CPU", "output", 7))
    noted = observe(lambda watching: watching.note_load(model, ReadyWorker(buffers)))
    assert [one.quantity for one in noted] == ["kv_cache"]


def test_what_is_on_a_gpu_is_told_from_what_is_not():
    model = llama_8b(gpu(8), gpu(24), layers=33)
    assert [device.device for device in model.memory.devices] == ["cpu", "cuda0", "cuda1"]
    buffers = (
        Buffer("CPU_Mapped", "weights", 300 * MIB),
        Buffer("CUDA0", "weights", 1000 * MIB),
        Buffer("CUDA1", "weights", 3000 * MIB),
        Buffer("CUDA_Host", "compute", 20 * MIB),
    )
    noted = observe(lambda watching: watching.note_load(model, ReadyWorker(buffers)))
    found = {(one.device, one.quantity): (one.predicted, one.actual) for one in noted}
    on_gpus = sum(device.weights for device in model.memory.devices[1:])
    assert found["cuda", "weights"] == (on_gpus, 4000 * MIB)
    assert found["cpu", "weights"] == (model.memory.devices[0].weights, 300 * MIB)
    assert found["cpu", "compute"][1] == 20 * MIB


def test_speeds_are_compared_with_what_was_predicted_for_as_many_tokens():
    model = llama_8b()
    noted = observe(
        lambda watching: watching.note_answer(model, ReadyWorker(), finished(), "bench")
    )
    decode, prefill = sorted(noted, key=lambda one: one.quantity)
    assert (decode.quantity, decode.actual, decode.n_past) == ("decode_tps", 10.0, 1050)
    assert (prefill.quantity, prefill.actual, prefill.n_past) == ("prefill_tps", 250.0, 500)
    premises = model.premises
    assert premises is not None
    for one, index in ((decode, 0), (prefill, 1)):
        speeds = predict_speed(premises.shape, model.config, premises.hardware, n_past=one.n_past)
        assert one.predicted == pytest.approx(speeds[index].mid)
        assert one.attention_share is not None and 0.01 < one.attention_share < 0.9
        assert (one.device, one.source) == ("cpu", "bench")


def test_a_model_that_is_partly_on_a_gpu_is_mixed():
    for layers, kind in ((0, "cpu"), (10, "mixed"), (33, "cuda")):
        model = llama_8b(gpu(24), layers=layers)
        noted = observe(
            lambda watching, model=model: watching.note_answer(
                model, ReadyWorker(), finished(), "serve"
            )
        )
        assert {one.device for one in noted} == {kind}


def test_what_was_learnt_of_experts_on_the_cpu_is_used_where_they_are_there_again():
    made = entry("mixtral", quant("Q4_K_M", 26_441_533_376), architecture=MIXTRAL,
                 params=46_703_000_000, params_active=12_900_000_000)  # fmt: skip
    model, shape = llama_8b(gpu(24), layers=33), shape_from_catalog(made, made.quants[0])
    assert model.premises is not None
    config = replace(model.config, n_cpu_moe=20)
    model = replace(model, config=config, premises=replace(model.premises, shape=shape))
    noted = observe(lambda w: w.note_answer(model, ReadyWorker(), finished(), "bench"))
    assert {one.device for one in noted} == {"mixed"}
    known = calibrate(noted)
    arguments = shape, config, model.premises.hardware
    plain, corrected = predict_speed(*arguments)[0], predict_speed(*arguments, calibration=known)[0]
    assert plain != corrected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"completion_tokens": 20}, {"prefill_tps"}),
        ({"prompt_tokens": 100}, {"decode_tps"}),
        ({"cached_tokens": 950}, {"decode_tps"}),
        ({"decode_s": 0.0}, {"prefill_tps"}),
        ({"prefill_s": 0.0}, {"decode_tps"}),
        ({"completion_tokens": 0, "prompt_tokens": 0}, set()),
    ],
)
def test_what_is_too_short_says_nothing(changes: dict[str, Any], expected: set[str]):
    noted = observe(
        lambda watching: watching.note_answer(
            llama_8b(), ReadyWorker(), finished(**changes), "serve"
        )
    )
    assert {one.quantity for one in noted} == expected


@pytest.mark.parametrize(("pressure", "n"), [(None, 2), (0.1, 2), (0.6, 0)])
def test_a_machine_that_others_use_says_nothing_of_its_speed(
    monkeypatch: pytest.MonkeyPatch, pressure: float | None, n: int
):
    monkeypatch.setattr(observer, "read_cpu_pressure", lambda: pressure)
    noted = observe(lambda w: w.note_answer(llama_8b(), ReadyWorker(), finished(), "serve"))
    assert len(noted) == n


def test_of_many_answers_the_middle_one_is_remembered():
    model, worker = llama_8b(), ReadyWorker()

    def story(watching: Observer) -> None:
        for decode_s in (10.0, 11.0, 90.0, 9.0, 10.5):
            watching.note_answer(model, worker, finished(decode_s=decode_s), "serve")
        short = finished(prompt_tokens=100, decode_s=5.0)  # another magnitude of the context
        watching.note_answer(model, worker, short, "serve")

    noted = [one for one in observe(story) if one.quantity == "decode_tps"]
    assert [one.actual for one in noted] == [pytest.approx(100 / 10.5), 20.0]


def test_a_busy_hour_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(observer, "_MAX_GATHERED", 10)
    model, worker = llama_8b(), ReadyWorker()

    def story(watching: Observer) -> None:
        for _ in range(50):
            watching.note_answer(model, worker, finished(), "serve")
        assert max(len(speeds.measured) for speeds in watching._speeds.values()) == 10

    assert len(observe(story)) == 2


def test_without_a_measured_bandwidth_there_is_no_prediction_to_compare_with():
    model = llama_8b(bandwidth=None)
    assert observe(lambda w: w.note_answer(model, ReadyWorker(), finished(), "serve")) == []
    on_gpu = llama_8b(gpu(24), bandwidth=None, layers=33)
    assert observe(lambda w: w.note_answer(on_gpu, ReadyWorker(), finished(), "serve")) != []


def test_of_a_tiny_model_nothing_is_learnt():
    model = llama_8b()
    assert model.premises is not None
    tiny = replace(model.premises, shape=replace(model.premises.shape, disk_bytes=2 * MIB))
    small = replace(model, premises=tiny)
    buffers = (Buffer("CPU", "kv_cache", 5),)

    def story(watching: Observer) -> None:
        watching.note_load(small, ReadyWorker(buffers))
        watching.note_answer(small, ReadyWorker(), finished(), "serve")

    assert observe(story) == []


def test_a_worker_is_weighed_once_when_it_has_worked():
    model, worker = llama_8b(), ReadyWorker(pid=os.getpid())

    def story(watching: Observer) -> None:
        for _ in range(3):
            watching.note_answer(model, worker, finished(), "serve")

    (weighed,) = [one for one in observe(story) if one.quantity == "rss"]
    assert weighed.predicted == model.memory.total
    assert weighed.actual > 10 * MIB


def test_memory_of_the_gpu_is_asked_for_when_there_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(observer, "read_gpu_memory", lambda pid: 5000 * MIB)
    model = llama_8b(gpu(24), layers=33)
    noted = observe(lambda w: w.note_answer(model, ReadyWorker(), finished(), "serve"))
    (weighed,) = [one for one in noted if one.quantity == "device_memory"]
    assert (weighed.device, weighed.actual) == ("cuda", 5000 * MIB)
    assert weighed.predicted == model.memory.devices[1].total


def test_a_real_load_comes_out_as_planned(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(observer, "MIN_MODEL_BYTES", 0)
    hardware = machine(8, cores=1)
    shape = shape_from_metadata(read_metadata(DEMO_MODEL))
    config = plan_runtime(shape, hardware, Overrides(n_ctx_slot=512, n_parallel=2))
    memory = plan_memory(shape, config, hardware)
    premises = Premises(shape, hardware)
    model = ServedModel("mlm-demo", DEMO_MODEL, None, config, memory, premises)
    settings = msgspec.structs.asdict(worker_config(config))
    noted: list[Observation] = []

    async def tell() -> None:
        async with working(DEMO_MODEL, **settings) as worker:
            Observer(noted.append).note_load(model, worker)

    asyncio.run(tell())
    ratios = {one.quantity: one.ratio for one in noted}
    assert {"weights", "kv_cache", "compute", "output"} <= set(ratios)
    assert ratios["kv_cache"] == pytest.approx(1, abs=0.01)
    assert ratios["weights"] == pytest.approx(1, abs=0.01)


def ask_fake(folder: Path, wishes: list[str], **fields: Any) -> list[str]:
    """Return the quantities observed while a fake worker answers the wishes, all at once."""
    (folder / "alpha.fake").write_text(json.dumps({}))
    model = replace(fake_model(folder / "alpha.fake"), premises=llama_8b().premises)
    noted: list[Observation] = []

    async def tell() -> None:
        pool, watching = Pool(PoolOptions(launch=Launch(FAKE_WORKER))), Observer(noted.append)
        cache = ResponseCache(folder / "responses.sqlite")
        answers = Answers(pool, cache, watching)

        async def ask(wish: str) -> None:
            asked = Generate(request_id=0, prompt=wish, **fields)
            flight, _ = answers.open(model, asked, use_cache=False)
            with flight.watch() as watcher:
                while not flight.over:
                    await watcher.wait()

        try:
            await asyncio.gather(*map(ask, wishes))
        finally:
            watching.flush()
            await pool.close(grace_s=1)
            await asyncio.to_thread(cache.close)

    asyncio.run(tell())
    return [one.quantity for one in noted if one.quantity != "rss"]


def test_only_an_answer_that_had_the_machine_to_itself_counts(tmp_path: Path):
    wish = "n=40 pace=0.001"
    assert ask_fake(tmp_path, [wish]) == ["decode_tps"]
    assert ask_fake(tmp_path, [wish, wish]) == []
    assert ask_fake(tmp_path, [wish], sampling=SamplingParams(grammar='root ::= "a"')) == []
    assert ask_fake(tmp_path, [wish], json_format=JsonFormat({"type": "object"})) == []
    assert ask_fake(tmp_path, [wish], tools=[{"type": "function"}]) == []
