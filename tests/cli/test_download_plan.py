"""What `mlm download` says before many bytes move, and whom it asks."""

import json
import time
from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY
from fakes.typed_terminal import typed

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

REF = f"{REPO}:Q4_K_M"
LARGE = 3 * 10**9  # bytes that the hub says the file has


@pytest.fixture
def large(hub: FakeHub) -> File:
    file = File(NAME, TINY)
    lfs = {"sha256": file.sha256, "size": LARGE, "pointerSize": 135}
    file.listed = {"size": LARGE, "lfs": lfs}
    hub.add(REPO, file)
    return file


def fetched(hub: FakeHub) -> bool:
    return any(request.where == "cdn" for request in hub.requests)


def test_a_person_is_shown_the_plan_and_asked(large: File, hub: FakeHub, hub_cache: Path):
    with typed("download", REF) as terminal:
        terminal.wait_for("Fetch it? [Y/n]")
        for wanted in (NAME, "2.79 GiB  to fetch", "into ", "free, ", " after", "this machine"):
            assert wanted in terminal.text, f"no {wanted}:\n{terminal.text}"
        assert "time " not in terminal.text, "nobody knows how fast this line is"
        assert not fetched(hub)
        terminal.press("n\r")
        terminal.wait_for("nothing was fetched")
        assert terminal.wait() == ExitCode.INTERRUPTED
    assert not fetched(hub)
    assert not hub_cache.exists()


def test_ctrl_c_is_a_no(large: File, hub: FakeHub):
    with typed("download", REF) as terminal:
        terminal.wait_for("Fetch it? [Y/n]")
        terminal.press("\x03")
        assert terminal.wait() == ExitCode.INTERRUPTED
        assert terminal.raw.endswith(b"\n"), "the shell's prompt comes in the same line"
    assert not fetched(hub)


@pytest.mark.parametrize("yes", ["y\r", "\r"])
def test_with_a_yes_it_goes_on(large: File, hub: FakeHub, yes: str):
    hub.breaks(where="resolve", status=404)
    with typed("download", REF) as terminal:
        terminal.wait_for("Fetch it? [Y/n]")
        terminal.press(yes)
        terminal.wait_for("error:")
        assert terminal.wait() == ExitCode.NOT_FOUND
    assert any(request.where == "resolve" for request in hub.requests)


@pytest.mark.parametrize("words", [("--yes",), ("--json",), ("--progress", "json")])
def test_who_agreed_before_or_is_a_program_is_not_asked(large: File, hub: FakeHub, words):
    hub.breaks(where="resolve", status=404)
    with typed("download", REF, *words) as terminal:
        assert terminal.wait() == ExitCode.NOT_FOUND
        assert "Fetch it?" not in terminal.text


def test_without_a_terminal_nobody_is_asked(mlm, large: File, hub: FakeHub):
    hub.breaks(where="resolve", status=404)
    result = mlm("download", REF)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "Fetch it?" not in result.stdout + result.stderr


def test_a_small_file_is_no_question(hub: FakeHub):
    hub.add(REPO, File(NAME, TINY))
    with typed("download", REF) as terminal:
        assert terminal.wait() == ExitCode.OK
        assert "Fetch it?" not in terminal.text


def test_a_dry_run_shows_the_plan_and_fetches_nothing(mlm, large: File, hub: FakeHub):
    shown = mlm("download", REF, "--dry-run").stdout
    assert "to fetch      2.79 GiB" in shown
    assert max(map(len, shown.splitlines())) <= 80
    plan = mlm("download", REF, "--dry-run", "--json").json["plan"]
    assert plan["fetch_bytes"] == LARGE
    assert plan["free_bytes"] - plan["free_after_bytes"] == LARGE
    assert plan["expected_s"] is None
    assert [model["ref"] for model in plan["models"]] == [REF]
    assert not fetched(hub)


def test_of_a_model_of_the_catalog_it_says_whether_it_fits_and_how_fast_it_is(mlm):
    document = mlm("download", "mlm-demo", "--dry-run", "--json").json
    (model,) = document["plan"]["models"]
    assert (model["ref"], model["fits"]) == ("mlm-demo:Q8_0", True)
    assert model["decode_tps"] > 0 and model["memory_bytes"] > 0
    assert "mlm-demo:Q8_0 fits" in mlm("download", "mlm-demo", "--dry-run").stdout


def test_what_is_here_is_not_to_be_fetched(mlm):
    mlm("download", "mlm-demo")
    document = mlm("download", "mlm-demo", "--dry-run", "--json").json
    assert document["plan"]["fetch_bytes"] == 0
    assert mlm("download", "mlm-demo", "--json").json["plan"] is None
    again = mlm("download", "mlm-demo", "--dry-run", "--force", "--json").json
    assert again["plan"]["fetch_bytes"] == document["files"][0]["size_bytes"]


def test_a_rate_that_is_allowed_tells_the_time(mlm, large: File):
    shown = mlm("download", REF, "--dry-run", "--limit-rate", "5MB").stdout
    assert "time          10m00s: 5 MB/s, at the rate that you allow; not less" in shown


def test_the_rate_of_the_last_large_download_tells_the_time(mlm, large: File, home: Path, hub):
    kept = home / "cache" / "download-rate.json"
    fact = {"endpoint": hub.endpoint, "bytes_per_s": 10**7, "at": time.time()}
    kept.write_text(json.dumps(fact))
    shown = mlm("download", REF, "--dry-run").stdout
    assert "time          5m00s: 10 MB/s, as fast as the last one" in shown
    for nonsense in ({"at": 0}, {"endpoint": "another"}, {"bytes_per_s": -1}, {"at": "x"}):
        kept.write_text(json.dumps(fact | nonsense))
        assert "time " not in mlm("download", REF, "--dry-run").stdout
    kept.write_text("junk")
    assert mlm("download", REF, "--dry-run").exit_code == ExitCode.OK
