"""What Prometheus collects."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fakes.asgi import call, no_models
from fakes.fake_server import FakeServer, serving
from fakes.processes import wait_until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from mlm.hardware.gpu_load import GpuLoad
from mlm.server.app import make_app

ROOT = Path(__file__).parents[2]


def scrape(server: FakeServer, **headers: str) -> dict[str, list[Sample]]:
    """Return the samples by name."""
    reply = server.ask("GET", "/metrics", headers=headers)
    assert reply.status == 200
    return by_name(reply.body.decode())


def by_name(page: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(samples: dict[str, list[Sample]], metric: str, /, **labels: str) -> float:
    """Return the one sample with these labels; 0 when there is none yet."""
    matching = [s.value for s in samples.get(metric, ()) if labels.items() <= s.labels.items()]
    assert len(matching) <= 1, (metric, labels, samples[metric])
    return matching[0] if matching else 0.0


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """A server that nobody else asks."""
    with serving(tmp_path_factory.mktemp("counted"), {"alpha": {}}, max_queue=2) as server:
        server.wait_for("Loaded")
        yield server


def test_requests_tokens_and_times_are_counted_per_model(counted: FakeServer):
    before = scrape(counted)
    counted.chat("n=9 pace=0.005 cached=3 count")
    counted.chat("n=9 pace=0.005 count", stream=True)
    after = scrape(counted)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    labels = {"model": "alpha"}
    assert grown("mlm_requests_total", endpoint="chat", outcome="ok", **labels) == 2
    assert grown("mlm_prompt_tokens_total", **labels) == 14
    assert grown("mlm_cached_prompt_tokens_total", **labels) == 3
    assert grown("mlm_completion_tokens_total", **labels) == 18
    for name, n in (
        ("time_to_first_token", 2),
        ("request_duration", 2),
        ("request_queue", 2),
        ("inter_token", 16),
    ):
        assert grown(f"mlm_{name}_seconds_count", **labels) == n
        assert grown(f"mlm_{name}_seconds_bucket", le="+Inf", **labels) == n
    gaps = grown("mlm_inter_token_seconds_sum", **labels)
    assert 0.04 < gaps < 16
    assert grown("mlm_inter_token_seconds_bucket", le="0.002", **labels) < 16
    assert value(after, "mlm_model_load_seconds_count", **labels) == 1


def test_the_buckets_of_a_histogram_only_grow(counted: FakeServer):
    counted.chat("n=5 pace=0.002")
    samples = scrape(counted)
    for name in [name for name in samples if name.endswith("_bucket")]:
        ordered = sorted(samples[name], key=lambda s: float(s.labels["le"]))
        counts = [s.value for s in ordered]
        assert counts == sorted(counts)
        assert ordered[-1].labels["le"] == "+Inf"
        (total,) = samples[name.removesuffix("_bucket") + "_count"]
        assert counts[-1] == total.value


def test_what_the_response_cache_did_is_counted(counted: FakeServer):
    before = scrape(counted)
    for _ in range(3):
        counted.chat("kept", temperature=0)
    counted.chat("left to chance")
    after = scrape(counted)
    name = "mlm_response_cache_requests_total"
    grown = {r: value(after, name, result=r) - value(before, name, result=r)
             for r in ("hit", "miss", "shared", "bypass")}  # fmt: skip
    assert grown == {"hit": 2, "miss": 1, "shared": 0, "bypass": 1}
    wait_until(lambda: value(scrape(counted), "mlm_response_cache_entries") >= 1)
    assert value(scrape(counted), "mlm_response_cache_bytes") > 10


def test_who_waits_and_who_is_served_is_shown(counted: FakeServer):
    streams = [counted.open_stream("n=500 pace=0.01 busy") for _ in range(3)]
    try:
        wait_until(lambda: value(scrape(counted), "mlm_requests_active") == 3)
        samples = scrape(counted)
        assert value(samples, "mlm_slots", model="alpha") == 4
        assert value(samples, "mlm_model_loaded", model="alpha") == 1
        assert value(samples, "mlm_model_memory_bytes", model="alpha", device="cpu") == 1024**3
    finally:
        for stream in streams:
            stream.leave()
    wait_until(lambda: value(scrape(counted), "mlm_requests_active") == 0)


def test_the_work_of_the_engine_comes_with_its_heartbeat(counted: FakeServer):
    def decoded() -> float:
        return value(scrape(counted), "mlm_engine_tokens_total", model="alpha", kind="decode")

    before = decoded()
    counted.chat("n=7 worked")
    wait_until(lambda: decoded() >= before + 7)
    samples = scrape(counted)
    steps = value(samples, "mlm_engine_step_seconds_count", model="alpha")
    assert steps == value(samples, "mlm_engine_sequences_total", model="alpha") > 0
    assert value(samples, "mlm_engine_time_seconds_total", phase="idle", model="alpha") >= 0


def test_the_server_its_workers_and_the_machine_are_shown(counted: FakeServer):
    samples = scrape(counted)
    assert value(samples, "mlm_process_resident_memory_bytes") > 10_000_000
    assert value(samples, "mlm_process_cpu_seconds_total") > 0
    assert value(samples, "mlm_process_open_fds") > 3
    assert value(samples, "mlm_worker_resident_memory_bytes", model="alpha") > 1_000_000
    assert 0 <= value(samples, "mlm_host_cpu_ratio") <= 1
    assert value(samples, "mlm_host_memory_bytes") > value(
        samples, "mlm_host_memory_available_bytes"
    )
    assert value(samples, "mlm_ready") == 1


def test_watching_leaves_neither_threads_nor_files_behind(counted: FakeServer):
    def watch(_: int) -> dict[str, Any]:
        scrape(counted)
        return dict(counted.stats()["system"])

    before = watch(0)
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(watch, range(60)))

    def has_settled() -> bool:
        now = watch(0)  # the threads are those of the loop's own pool, which stay
        return now["fds"] <= before["fds"] + 2 and now["threads"] <= before["threads"] + 8

    wait_until(has_settled)


def test_a_worker_that_died_is_counted(tmp_path: Path):
    with serving(tmp_path, {"alpha": {}}) as server:
        server.wait_for("Loaded")
        assert server.chat("die=SIGKILL").status == 502
        wait_until(lambda: value(scrape(server), "mlm_worker_starts_total") == 2)
        samples = scrape(server)
        assert value(samples, "mlm_worker_crashes_total", model="alpha") == 1
        assert value(samples, "mlm_requests_total", outcome="worker_crashed") == 1
        assert value(samples, "mlm_http_responses_total", endpoint="chat", status="502") == 1


def test_no_client_can_make_series(counted: FakeServer):
    before = {s.name + str(s.labels) for group in scrape(counted).values() for s in group}

    def nonsense(i: int) -> None:
        counted.chat("hello", model=f"no-such-model-{i}")
        counted.ask("GET", f"/nowhere/{i}")
        counted.ask("GET", f"/v1/models/none-{i}")
        counted.ask("POST", "/v1/completions", {"model": 5, "prompt": "x"})
        counted.ask("GET", "/health", headers={"Host": f"evil-{i}.example"})

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(nonsense, range(40)))
    samples = scrape(counted)
    after = {s.name + str(s.labels) for group in samples.values() for s in group}
    assert len(after - before) <= 8
    assert not [line for line in after if "none-" in line or "no-such" in line or "evil" in line]
    assert value(samples, "mlm_http_responses_total", endpoint="other", status="404") >= 40
    assert value(samples, "mlm_http_responses_total", endpoint="health", status="403") == 40


def test_the_format_is_the_one_that_was_asked_for(counted: FakeServer):
    plain = counted.ask("GET", "/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    open_format = counted.ask("GET", "/metrics", headers=asked)
    assert open_format.headers["Content-Type"].startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(open_format.body.decode())}
    assert {"mlm_requests", "mlm_inter_token_seconds", "mlm_host_cpu_ratio"} <= names


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=x", "*/*", ""])
def test_a_crooked_wish_for_a_format_is_no_error(counted: FakeServer, accept: str):
    assert counted.ask("GET", "/metrics", headers={"Accept": accept}).status == 200


def test_with_keys_the_page_needs_one(tmp_path: Path):
    (tmp_path / "keys").write_text("a-key-of-prometheus\n")
    with serving(tmp_path, {"alpha": {}}, key_file=str(tmp_path / "keys")) as server:
        assert server.ask("GET", "/metrics").status == 401
        known = {"Authorization": "Bearer a-key-of-prometheus"}
        page = server.ask("GET", "/metrics", headers=known)
        assert page.status == 200
        assert b"a-key-of" not in page.body


def collect(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the page of a server with a GPU and nothing to serve."""
    card = GpuLoad("RTX 4090", 87.0, 5, 24, 312.5, 71.0)
    monkeypatch.setattr("mlm.server.vitals.read_gpu_loads", lambda: (card,))
    with no_models(folder) as services:
        answer = asyncio.run(call(make_app(services), "GET", "/metrics"))
    assert answer.status == 200
    return answer.body.decode()


def test_gpus_are_shown_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples = by_name(collect(tmp_path, monkeypatch))
    labels = {"gpu": "0", "name": "RTX 4090"}
    assert value(samples, "mlm_gpu_utilization_ratio", **labels) == 0.87
    assert value(samples, "mlm_gpu_memory_used_bytes", **labels) == 5
    assert value(samples, "mlm_gpu_memory_bytes", **labels) == 24
    assert value(samples, "mlm_gpu_power_watts", **labels) == 312.5
    assert value(samples, "mlm_gpu_temperature_celsius", **labels) == 71


def test_two_servers_in_one_process_share_no_figures(tmp_path: Path):
    async def ask_both(first: Any, second: Any) -> list[str]:
        apps = [make_app(services) for services in (first, second)]
        await call(apps[0], "GET", "/nowhere")
        return [(await call(app, "GET", "/metrics")).body.decode() for app in apps]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with no_models(tmp_path / "a") as first, no_models(tmp_path / "b") as second:
        pages = asyncio.run(ask_both(first, second))
    assert ['status="404"' in page for page in pages] == [True, False]


def test_every_metric_is_documented_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    described = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    page = collect(tmp_path, monkeypatch)
    families = list(text_string_to_metric_families(page))
    assert len(families) > 30
    wanted = []
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        wanted.append(f"| `{name}` | {family.type} | ")
        assert f" | {family.documentation} |\n" in described, name
    assert [row for row in wanted if row not in described] == []
    named = [line.split("`")[1] for line in described.splitlines() if line.startswith("| `mlm_")]
    assert len(named) == len(wanted), "one row each, and none for what there is not"
