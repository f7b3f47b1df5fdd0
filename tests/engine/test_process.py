"""A real worker as a process: how it starts, fails, dies and goes away."""

import asyncio
import contextlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from fakes.real_worker import CONFIG, ask, events_of, request, working

from mlm.engine import EngineMissing
from mlm.engine.messages import Finished, TokenOut
from mlm.engine.process import Worker, WorkerDied, WorkerFailed
from mlm.engine.spawn import EarlyWorker, Launch, scrub_environment

TinyModel = Callable[[str], Path]
ROOT = Path(__file__).parents[2]
_THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE_PAGES_ON_DEMAND = (
    platform.libc_ver()[0] == "glibc" and _THP.exists() and "[madvise]" in _THP.read_text()
)
LONG = msgspec.structs.replace(CONFIG, n_ctx=4 * 8192)  # answers that last


async def start_endless(worker: Worker, ends: list[object]) -> asyncio.Task[None]:
    """Start a request that would run to the end of its slot; note how it ends instead."""
    flowing = asyncio.Event()

    async def follow() -> None:
        try:
            async for event in events_of(worker, request("hello", ignore_eos=True)):
                if isinstance(event, TokenOut):
                    flowing.set()
        except WorkerDied as death:
            ends.append(death)

    task = asyncio.create_task(follow())
    await flowing.wait()
    return task


def freeze(worker: Worker) -> None:
    """Stop a worker in its tracks, and return when it has stopped."""
    os.kill(worker.pid, signal.SIGSTOP)
    while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
        pass


def new_children(before: list[psutil.Process]) -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child not in before]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM"])
def test_a_death_under_load_is_named_to_every_request(name: str, tiny_model: TinyModel):
    async def story():
        ends: list[object] = []
        worker = await Worker.start(tiny_model("llama"), LONG)
        streams = [await start_endless(worker, ends) for _ in range(3)]
        os.kill(worker.pid, signal.Signals[name])
        await asyncio.gather(*streams)
        death = await worker.wait_dead()
        with pytest.raises(WorkerDied):
            await ask(worker, "hello")
        await worker.stop()
        return worker.pid, ends, death

    pid, ends, death = asyncio.run(story())
    assert [str(end) for end in ends] == [str(death)] * 3
    assert f"killed by {name}" in death.message and death.exit_code == 9
    assert not psutil.pid_exists(pid), "a zombie is left"


def test_a_worker_stops_when_asked_and_leaves_nothing(tiny_model: TinyModel):
    async def story():
        worker = await Worker.start(tiny_model("llama"), CONFIG)
        family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children()]
        await worker.stop()
        await worker.stop()
        return family, await worker.wait_dead()

    family, death = asyncio.run(story())
    assert "exit code 0" in death.message
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_worker_that_does_not_listen_is_killed_after_the_grace(tiny_model: TinyModel):
    async def story():
        worker = await Worker.start(tiny_model("llama"), CONFIG)
        freeze(worker)
        await worker.stop(grace_s=0.05)
        return await worker.wait_dead()

    assert "SIGKILL" in asyncio.run(story()).message


def test_a_worker_that_hangs_is_noticed_and_killed(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
):
    async def story():
        worker = await Worker.start(tiny_model("llama"), CONFIG)  # which may take its time
        monkeypatch.setattr("mlm.engine.process.HEARTBEAT_LIMIT_S", 1.5)
        last_sign = worker.last_sign
        while worker.last_sign is last_sign:  # the limit holds from the next one on
            await asyncio.sleep(0.01)
        freeze(worker)
        death = await worker.wait_dead()
        await worker.stop()
        return death

    assert "no sign of life" in asyncio.run(story()).message


def test_a_worker_may_take_its_time_to_start_but_not_for_ever(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
):
    """On a slow disk, or beside others who compute, llama.cpp takes long to be there."""
    begin = "import time; from mlm.engine import worker as w; w.HEARTBEAT_S = 0.1; time.sleep({}); "

    async def start(sleeps_s: float) -> None:
        command = (sys.executable, "-c", begin.format(sleeps_s) + "w.main()")
        worker = await Worker.start(tiny_model("llama"), CONFIG, launch=Launch(command))
        await worker.stop()

    monkeypatch.setattr("mlm.engine.process.HEARTBEAT_LIMIT_S", 1.5)
    asyncio.run(start(2))
    monkeypatch.setattr("mlm.engine.process.START_LIMIT_S", 0.2)
    with pytest.raises(WorkerFailed, match="no sign of life"):
        asyncio.run(start(60))


def test_a_worker_dies_with_its_parent(tiny_model: TinyModel):
    program = (
        "import asyncio, os, signal, sys\n"
        "from fakes.real_worker import CONFIG\n"
        "from mlm.engine.process import Worker\n"
        "async def story():\n"
        "    worker = await Worker.start(sys.argv[1], CONFIG)\n"
        "    print(worker.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(story())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_model("llama"))],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(psutil.NoSuchProcess):
        orphan = psutil.Process(int(done.stdout))
        while orphan.status() != psutil.STATUS_ZOMBIE:  # until init clears it away
            pass


def test_a_worker_forgotten_by_its_loop_is_killed(tiny_model: TinyModel):
    async def story():
        return (await Worker.start(tiny_model("llama"), CONFIG)).pid

    assert not psutil.pid_exists(asyncio.run(story()))


def test_loading_reports_progress(demo_model: Path):
    seen: list[float] = []

    async def story():
        worker = await Worker.start(demo_model, CONFIG, on_progress=seen.append)
        await worker.stop()

    asyncio.run(story())
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_the_first_worker_of_a_server_has_started_before_its_model_is_known(
    demo_model: Path, tmp_path: Path
):
    log = tmp_path / "demo.log"

    async def story(early: EarlyWorker) -> list[int]:
        (begun,) = new_children(before)
        first = await Worker.start(demo_model, CONFIG, log_path=log, launch=Launch(spawn=early))
        second = await Worker.start(demo_model, CONFIG, log_path=log, launch=Launch(spawn=early))
        pids = [begun.pid, first.pid, second.pid]
        await first.stop()
        await second.stop()
        return pids

    before = psutil.Process().children()
    with EarlyWorker(log) as early:
        begun, first, second = asyncio.run(story(early))
    assert first == begun != second


def test_a_worker_that_was_started_early_for_nothing_goes_too(demo_model: Path, tmp_path: Path):
    async def load_another(early: EarlyWorker) -> None:
        worker = await Worker.start(demo_model, CONFIG, launch=Launch(spawn=early))
        await worker.stop()

    before = psutil.Process().children()
    with EarlyWorker(tmp_path / "demo.log") as early:
        asyncio.run(load_another(early))
        assert len(new_children(before)) == 1
    assert not new_children(before)


def test_giving_up_a_load_leaves_no_process(demo_model: Path):
    async def story():
        loading = asyncio.create_task(Worker.start(demo_model, CONFIG))
        await asyncio.sleep(0)  # let it spawn
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(story())


def fail_to_load(path: Path, **changes: object) -> WorkerFailed:
    async def story():
        with pytest.raises(WorkerFailed) as failed:
            async with working(path, **changes):
                pass
        return failed.value

    return asyncio.run(story())


def test_a_file_that_is_no_model_is_refused_with_the_reason(tmp_path: Path, demo_model: Path):
    page = tmp_path / "page.gguf"
    page.write_text("<html>404</html>")
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(demo_model.read_bytes()[:900_000])
    for path in (page, torn):
        error = fail_to_load(path)
        assert path.name in error.message and len(error.message) > len(path.name) + 10
        assert error.exit_code == 9
        assert str(tmp_path) not in error.message
    assert "nowhere.gguf" in fail_to_load(tmp_path / "nowhere.gguf").message


def test_parameters_that_llama_cpp_refuses_are_named(tiny_model: TinyModel):
    model = tiny_model("llama")
    assert "K cache type q8_0" in fail_to_load(model, type_k="q8_0").message
    assert "no KV cache type 'q99'" in fail_to_load(model, type_v="q99").message
    assert "n_batch" in fail_to_load(model, n_batch=2).message


def test_a_worker_that_never_speaks_is_a_failure_with_its_exit_code(tmp_path: Path):
    async def story():
        command = (sys.executable, "-c", "import sys; print('no idea'); sys.exit(3)")
        log = tmp_path / "logs" / "worker.log"
        with pytest.raises(WorkerFailed, match="exit code 3") as failed:
            await Worker.start("x.gguf", CONFIG, launch=Launch(command), log_path=log)
        assert str(log) in str(failed.value.remedy)
        assert log.read_text() == "no idea\n"

    asyncio.run(story())


@pytest.mark.skipif(not HUGE_PAGES_ON_DEMAND, reason="this system has none for who asks")
def test_a_worker_asks_for_huge_pages(tiny_model: TinyModel):
    async def story() -> str:
        async with working(tiny_model("llama")) as worker:
            return Path(f"/proc/{worker.pid}/smaps").read_text()

    flags = [line.split() for line in asyncio.run(story()).splitlines() if "VmFlags:" in line]
    assert any("hg" in of_one for of_one in flags)


def test_a_worker_sees_no_secrets(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    assert "canary" not in str(scrub_environment(os.environ))

    async def story():
        async with working(tiny_model("llama")) as worker:
            process = psutil.Process(worker.pid)
            return [member.environ() for member in (process, *process.children())]

    environments = asyncio.run(story())
    assert "canary" not in str(environments)
    assert all(environ["GGML_NO_BACKTRACE"] == "1" for environ in environments)


def test_a_worker_is_tied_down_before_it_loads(tiny_model: TinyModel):
    """Own session; on Linux also: no core files, and first to go when memory ends."""

    async def story():
        async with working(tiny_model("llama")) as worker:
            assert os.getsid(worker.pid) == worker.pid
            if sys.platform == "linux":
                assert psutil.Process(worker.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
                assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text() == "500\n"

    asyncio.run(story())


def test_ctrl_c_is_left_to_the_gateway(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama")) as worker:
            os.kill(worker.pid, signal.SIGINT)
            return await ask(worker, "hello", max_tokens=3)

    assert isinstance(asyncio.run(story()).ending, Finished)


def test_a_reader_that_breaks_ends_only_its_own_request(tiny_model: TinyModel):
    def break_down(_: object) -> None:
        raise ZeroDivisionError

    async def story():
        async with working(tiny_model("llama")) as worker:
            other = asyncio.create_task(ask(worker, "world", max_tokens=20, ignore_eos=True))
            with pytest.raises(ZeroDivisionError):
                await worker.answer(request("hello", max_tokens=500), break_down)
            return await other, worker.busy

    answer, is_busy = asyncio.run(story())
    assert answer.ending.completion_tokens == 20
    assert not is_busy


def test_without_the_extra_the_error_is_the_command_that_installs_it():
    program = "from mlm.engine import require_engine; require_engine()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],  # -S: no installed packages
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "EngineMissing" in done.stderr
    assert "mlm engine install" in str(EngineMissing("llama_cpp").remedy)
    assert EngineMissing("llama_cpp").exit_code == 9
