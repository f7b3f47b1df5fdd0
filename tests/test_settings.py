"""The environment is read once, by the rules of the tools that share it."""

from pathlib import Path

import pytest
from platformdirs import user_data_path

from mlm.errors import UsageError
from mlm.paths import default_home, default_hub_cache
from mlm.settings import DEFAULT_ENDPOINT, Settings


def test_with_an_empty_environment_everything_has_a_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.from_environment({})
    assert settings.endpoint == DEFAULT_ENDPOINT
    assert settings.hub_cache == tmp_path / ".cache/huggingface/hub"
    assert settings.token is None
    assert not settings.offline


def test_the_command_line_wins_over_the_environment(tmp_path):
    environ = {"MLM_HOME": "/elsewhere", "MLM_OFFLINE": "0"}
    settings = Settings.from_environment(environ, home=tmp_path, offline=True)
    assert settings.home.root == tmp_path
    assert settings.offline


def test_a_mirror_may_have_a_path_and_a_trailing_slash():
    settings = Settings.from_environment({"HF_ENDPOINT": "https://mirror.example/hf/"})
    assert settings.endpoint == "https://mirror.example/hf"


@pytest.mark.parametrize("name", ["MLM_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize(("value", "offline"), [("1", True), ("YES", True), ("off", False)])
def test_either_variable_takes_mlm_offline(name: str, value: str, offline: bool):
    assert Settings.from_environment({name: value}).offline is offline


def test_a_flag_that_is_neither_on_nor_off_is_refused():
    with pytest.raises(UsageError, match="MLM_OFFLINE=perhaps"):
        Settings.from_environment({"MLM_OFFLINE": "perhaps"})


def test_the_token_comes_from_the_environment_or_from_the_file_of_hf_auth_login(tmp_path):
    (tmp_path / "token").write_text("hf_from_file\n")
    environ = {"HF_HOME": str(tmp_path)}
    assert Settings.from_environment(environ).token == "hf_from_file"
    assert Settings.from_environment({**environ, "HF_TOKEN": "hf_env"}).token == "hf_env"


def test_the_token_is_never_shown_by_accident():
    assert "hf_secret" not in repr(Settings.from_environment({"HF_TOKEN": "hf_secret"}))


def test_the_cache_is_where_the_hugging_face_tools_look():
    assert default_hub_cache({"HF_HUB_CACHE": "/a"}) == Path("/a")
    assert default_hub_cache({"HF_HOME": "/b"}) == Path("/b/hub")
    assert default_hub_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")


def test_home_is_the_platforms_data_folder_unless_told_otherwise():
    assert default_home({"MLM_HOME": "/x"}) == Path("/x")
    assert default_home({}).name == "mlm"


@pytest.mark.parametrize("data", [None, "", " ", "/some/where"])
def test_without_mlm_home_it_is_the_platforms_folder_for_data(monkeypatch, data: str | None):
    monkeypatch.delenv("MLM_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if data is not None:
        monkeypatch.setenv("XDG_DATA_HOME", data)
    assert default_home() == user_data_path("mlm", appauthor=False)
