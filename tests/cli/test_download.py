"""``mlm download``: what people type, what they get, and what every failure is called."""

import json
from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

PINNED = """\
family: tiny
sources: {{me: "measured at home"}}
models:
  - model_id: tiny-1b
    name: Tiny
    params: 500000
    architecture: {{name: llama, n_layer: 16, n_embd: 2048, n_head: 32, n_head_kv: 8,
                   head_dim: 64, n_vocab: 32000, n_ctx_train: 4096}}
    license: MIT
    use_cases: [chat]
    source: me
    quants:
      - {{quant: Q4_K_M, repo_id: {repo}, filename: {name}, size_bytes: 300000,
         sha256: "{sha256}", sha256_verified: {verified}, source: me}}
      - {{quant: Q8_0, repo_id: {repo}, filename: tiny.Q8_0.gguf, size_bytes: 530000, source: me}}
"""


@pytest.fixture
def tiny(hub: FakeHub) -> File:
    file = File(NAME, TINY)
    hub.add(REPO, file, File("tiny.Q8_0.gguf", model_bytes(5000)))
    return file


def pin(home: Path, sha256: str, *, verified: bool) -> None:
    """Let the user's own catalog know the tiny model."""
    (home / "catalog").mkdir(parents=True)
    text = PINNED.format(repo=REPO, name=NAME, sha256=sha256, verified=str(verified).lower())
    (home / "catalog" / "tiny.yaml").write_text(text)


def test_a_model_is_fetched_and_described(mlm, tiny: File, hub: FakeHub):
    done = mlm("download", f"{REPO}:Q4_K_M", "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["schema"] == "mlm.download/1"
    (file,) = done.json["files"]
    assert file["repo_id"] == REPO
    assert file["revision"] == "main"
    assert file["commit"] == hub.repos[REPO].refs["main"]
    assert file["filename"] == NAME
    assert Path(file["path"]).read_bytes() == TINY
    assert (file["size_bytes"], file["sha256"]) == (len(TINY), tiny.sha256)
    assert (file["status"], file["fetched_bytes"]) == ("downloaded", len(TINY))
    assert file["elapsed_s"] > 0
    again = mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]
    assert (again["status"], again["fetched_bytes"]) == ("present", 0)


def test_the_table_fits_the_screen(mlm, tiny: File):
    shown = mlm("download", f"{REPO}:Q4_K_M").stdout
    assert "downloaded" in shown and tiny.sha256[:12] in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_it_resumes_where_the_broken_connection_stopped(mlm, tiny: File, hub: FakeHub, monkeypatch):
    monkeypatch.setenv("MLM_TIMEOUT_SCALE", "0.001")
    hub.breaks(drop_at=100_000, times=1)
    hub.breaks(status=503)
    broken = mlm("download", f"{REPO}:Q4_K_M")
    assert broken.exit_code == ExitCode.NETWORK
    assert "trying again in" in broken.stderr
    monkeypatch.delenv("MLM_TIMEOUT_SCALE")
    hub.recovers()
    (file,) = mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"]
    assert (file["status"], file["fetched_bytes"]) == ("resumed", 200_000)
    assert hub.requested_ranges[0] is None
    assert set(hub.requested_ranges[1:]) == {"bytes=100000-"}


def test_the_bundled_model_comes_from_inside_offline_and_through_no_proxy(mlm, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY")
    done = mlm("--offline", "download", "mlm-demo", "--json")
    assert done.exit_code == ExitCode.OK, done.stdout
    assert done.json["files"][0]["filename"] == "mlm-demo.Q8_0.gguf"
    assert mlm("list", "--json").json["models"][0]["model"] == "mlm-demo"


@pytest.mark.parametrize(
    "words",
    [
        (f"{REPO}:Q8_0",),
        (REPO, "--quant", "q8_0"),
        (f"{REPO}:Q8_0", "--quant", "Q8_0"),
        (f"{REPO}/tiny.Q8_0.gguf",),
        ("tiny-1b:Q8_0",),
        ("tiny-1b", "--quant", "Q8_0"),
    ],
)
def test_all_ways_to_name_a_quantization_mean_the_same(mlm, tiny: File, home: Path, words):
    pin(home, tiny.sha256, verified=True)
    (file,) = mlm("download", *words, "--json").json["files"]
    assert file["filename"] == "tiny.Q8_0.gguf"


def test_a_bare_name_means_what_is_here_already(mlm, tiny: File, home: Path):
    pin(home, tiny.sha256, verified=True)
    mlm("download", "tiny-1b:Q4_K_M")
    (file,) = mlm("download", "tiny-1b", "--json").json["files"]
    assert (file["filename"], file["status"]) == (NAME, "present")


def test_a_revision_can_be_chosen(mlm, tiny: File, hub: FakeHub):
    commit = hub.repos[REPO].refs["main"]
    hub.add(REPO, File(NAME, model_bytes(4000)))
    (file,) = mlm("download", f"{REPO}:Q4_K_M", "--revision", commit, "--json").json["files"]
    assert (file["commit"], file["sha256"]) == (commit, tiny.sha256)
    missing = mlm("download", f"{REPO}:Q4_K_M", "--revision", "v9")
    assert missing.exit_code == ExitCode.NOT_FOUND and "no revision v9" in missing.stderr


def test_a_dry_run_says_what_would_come_and_leaves_the_disk_alone(mlm, tiny: File, hub_cache: Path):
    done = mlm("download", f"{REPO}:Q4_K_M", "--dry-run", "--json")
    (file,) = done.json["files"]
    assert (file["status"], file["size_bytes"], file["fetched_bytes"]) == ("planned", len(TINY), 0)
    assert not hub_cache.exists()


def test_force_fetches_again(mlm, tiny: File):
    mlm("download", f"{REPO}:Q4_K_M")
    (file,) = mlm("download", f"{REPO}:Q4_K_M", "--force", "--json").json["files"]
    assert file["fetched_bytes"] == len(TINY)


def test_several_models_are_all_reported_and_the_first_failure_counts(
    mlm, tiny: File, hub: FakeHub
):
    hub.add("org/bad-GGUF", File("bad.Q4_0.gguf", TINY))
    hub.breaks(where="resolve", match="bad", status=403, headers={"X-Error-Code": "GatedRepo"})
    done = mlm(
        "download", f"{REPO}:Q8_0", "org/bad-GGUF:Q4_0", "nosuch", f"{REPO}:Q4_K_M", "--json"
    )
    assert done.exit_code == ExitCode.AUTH
    assert [file["filename"] for file in done.json["files"]] == ["tiny.Q8_0.gguf", NAME]
    assert [(e["ref"], e["exit_code"]) for e in done.json["errors"]] == [
        ("org/bad-GGUF:Q4_0", ExitCode.AUTH),
        ("nosuch", ExitCode.NOT_FOUND),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch"], ExitCode.NOT_FOUND, "no model is called 'nosuch'"),
        (["org/none:Q4_0"], ExitCode.NOT_FOUND, "has no repository org/none"),
        ([f"{REPO}:Q5_K_M"], ExitCode.NOT_FOUND, "has no Q5_K_M; it has Q8_0, Q4_K_M"),
        ([f"{REPO}/none.gguf"], ExitCode.NOT_FOUND, "has no file none.gguf"),
        ([REPO], ExitCode.USAGE, "say which"),
        (["a b"], ExitCode.USAGE, "is not the name of a model"),
        (["./x.gguf"], ExitCode.USAGE, "a local file already"),
        ([f"{REPO}:Q8_0", "--quant", "Q4_0"], ExitCode.USAGE, "another quantization"),
        ([f"{REPO}/{NAME}", "--quant", "Q4_0"], ExitCode.USAGE, "names a file already"),
        ([REPO, "--quant", "../x"], ExitCode.USAGE, "is not a quantization"),
        ([REPO, "--revision", "../x"], ExitCode.USAGE, "is not a revision"),
        ([REPO, "--limit-rate", "fast"], ExitCode.USAGE, "is not a size"),
        ([REPO, "--limit-rate", "0"], ExitCode.USAGE, "nothing would ever arrive"),
        (["--offline", f"{REPO}:Q8_0"], ExitCode.USAGE, "stands before the command"),
    ],
)
def test_what_cannot_be_done_is_said_in_two_lines(mlm, tiny: File, words, code, said):
    failed = mlm("download", *words)
    assert failed.exit_code == code
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""


def test_each_failure_of_the_hub_has_its_exit_code(mlm, tiny: File, hub: FakeHub, monkeypatch):
    monkeypatch.setenv("MLM_TIMEOUT_SCALE", "0.01")
    for fault, code in (
        ({"where": "api", "status": 429, "headers": {"Retry-After": "9999"}}, ExitCode.NETWORK),
        ({"where": "api", "status": 503}, ExitCode.NETWORK),
        ({"where": "api", "stall_before_headers": True}, ExitCode.NETWORK),
        ({"where": "api", "body": b"<html>"}, ExitCode.NETWORK),
        ({"where": "api", "status": 401}, ExitCode.AUTH),
        ({"flip_bit": 80_000}, ExitCode.INTEGRITY),
        ({"splice": (0, b"<html>" * 60_000)}, ExitCode.INTEGRITY),
    ):
        hub.recovers()
        hub.breaks(**fault)
        failed = mlm("download", f"{REPO}:Q4_K_M", "--json")
        assert failed.exit_code == code, fault
        error = failed.json["error"]
        assert error["exit_code"] == code and error["message"] and error["remedy"]


def test_a_hub_that_is_down_is_not_waited_for(mlm):
    failed = mlm("download", f"{REPO}:Q4_K_M")
    assert failed.exit_code == ExitCode.NETWORK
    assert "cannot reach 127.0.0.1:9" in failed.stderr


def test_offline_needs_only_what_is_here(mlm, tiny: File, hub: FakeHub):
    assert mlm("--offline", "download", f"{REPO}:Q4_K_M").exit_code == ExitCode.NETWORK
    mlm("download", f"{REPO}:Q4_K_M")
    hub.requests.clear()
    (file,) = mlm("--offline", "download", f"{REPO}:Q4_K_M", "--json").json["files"]
    assert file["status"] == "present"
    assert hub.requests == []


def test_a_verified_pin_refuses_and_a_single_source_warns(mlm, tiny: File, home: Path):
    pin(home, "0" * 64, verified=True)
    refused = mlm("download", "tiny-1b:Q4_K_M")
    assert refused.exit_code == ExitCode.INTEGRITY
    assert tiny.sha256 in refused.stderr and "0" * 64 in refused.stderr
    taken = mlm("download", "tiny-1b:Q4_K_M", "--revision", "main")
    assert taken.exit_code == ExitCode.OK
    assert "replaced upstream" in taken.stderr


def test_unverified_files_need_permission(mlm, hub: FakeHub):
    hub.add(REPO, File(NAME, TINY, lfs=False))
    refused = mlm("download", f"{REPO}:Q4_K_M")
    assert refused.exit_code == ExitCode.INTEGRITY and "--allow-unverified" in refused.stderr
    assert mlm("download", f"{REPO}:Q4_K_M", "--allow-unverified").exit_code == ExitCode.OK


def test_progress_is_a_line_per_twentieth_without_a_terminal(mlm, tiny: File):
    lines = mlm("download", f"{REPO}:Q4_K_M").stderr.splitlines()
    assert lines[-1].split()[1] == "100%"
    assert len(lines) <= 21


def test_progress_can_be_read_by_programs(mlm, tiny: File):
    done = mlm("download", f"{REPO}:Q4_K_M", "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["event"] for event in events} == {"progress"}
    last = events[-1]
    assert (last["filename"], last["phase"]) == (NAME, "downloading")
    assert last["done_bytes"] == last["total_bytes"] == len(TINY)


def test_quiet_means_quiet(mlm, tiny: File):
    assert mlm("--quiet", "download", f"{REPO}:Q4_K_M").stderr == ""


def test_a_token_is_shown_to_nobody_but_the_hub(mlm, tiny: File, hub: FakeHub, monkeypatch, home):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    hub.repos[REPO].token = "hf_canary"
    done = mlm("download", f"{REPO}:Q4_K_M", "--json")
    assert done.exit_code == ExitCode.OK
    assert "authorization" not in hub.asked("cdn")[0].headers
    assert "hf_canary" not in done.stdout + done.stderr
    for path in home.rglob("*"):
        assert not path.is_file() or b"hf_canary" not in path.read_bytes()


def test_names_with_spaces_and_other_scripts_work(mlm, hub: FakeHub, home: Path):
    name = "模型 ü/tiny model.Q4_K_M.gguf"
    hub.add(REPO, File(name, TINY))
    (file,) = mlm("download", f"{REPO}/{name}", "--json").json["files"]
    assert file["filename"] == name
    assert Path(file["path"]).read_bytes() == TINY
