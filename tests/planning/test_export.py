"""Exported configs are what the other programs read, whatever is in a path or a name."""

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.facts import LLAMA_8B, entry, gpu, machine, quant
from fakes.other_programs import (
    check_option,
    read_modelfile,
    read_preset,
    read_unit,
    split_unit_words,
)

from mlm.planning.export_llama import export_llama_server, export_llama_server_ini
from mlm.planning.export_ollama import export_ollama
from mlm.planning.export_systemd import Service, export_systemd
from mlm.planning.exported import CannotExport, Exported, Subject
from mlm.planning.memory import plan_memory
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.types import MemoryPlan, RuntimeConfig
from mlm.units import MIB

SHAPE = shape_from_catalog(entry(architecture=LLAMA_8B), quant())
BOX = machine(32, gpu(24))
# A llama-server built from the llama.cpp inside the installed llama-cpp-python, for the real thing.
LLAMA_SERVER = os.environ.get("LLAMA_SERVER")
real_llama_server = pytest.mark.skipif(not LLAMA_SERVER, reason="LLAMA_SERVER names no binary")
real_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")

PLAIN = "/models/small.gguf"
ODD_PATHS = [
    PLAIN,
    "/a b/c  d.gguf",
    "/it's/here.gguf",
    '/say "hi"/x.gguf',
    "/50%/$HOME/${X}/`id`/$(id).gguf",
    "/back\\slash\\.gguf",
    "/größe/模型/🦙.gguf",
    "/-m/--model.gguf",
    "/one\ntwo.gguf",
    "/tab\there.gguf",
    '/end"\n"begin.gguf',
    "/semi;colon/#1.gguf",
    "/trailing ",
]


def subject(path: str = PLAIN, model_id: str = "org/small:Q4", **fields: Any) -> Subject:
    config = plan_runtime(SHAPE, BOX, Overrides())
    return Subject(model_id, Path(path), replace(config, **fields))


def script_words(exported: Exported) -> list[str]:
    """Return the words with which the script starts its program, by the shell's own rules."""
    lines = exported.text.split("\n")
    assert lines[0] == "#!/bin/sh"
    words = shlex.split(exported.text.replace("\\\n", " "), comments=True)
    assert words[:2] == ["exec", "llama-server"]
    assert words[-1] == "$@"
    return words[2:-1]


def options_of(exported: Exported) -> dict[str, str | None]:
    words = script_words(exported)
    options: dict[str, str | None] = {}
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--") and word[2:] not in options:
            is_switch = following.startswith("--")
            options[word[2:]] = None if is_switch else following
    return options


EVERYTHING = {
    "max_tokens": 100, "use_mlock": True, "kv_unified": True, "swa_full": True, "embedding": True,
    "n_cpu_moe": 3, "flash_attn": "on", "type_k": "q8_0", "type_v": "iq4_nl",
}  # fmt: skip


@pytest.mark.parametrize("fields", [{}, EVERYTHING, {"use_mmap": False}])
def test_llama_server_knows_every_option_and_value(fields: dict[str, Any]):
    options = options_of(export_llama_server(subject(**fields)))
    for name, value in options.items():
        check_option(name, value)
    ini = read_preset(export_llama_server_ini(subject(**fields)).text)["org/small:Q4"]
    switches = {"true": None}
    assert options == {k: switches.get(v, v) for k, v in ini.items()} | {"alias": "org/small:Q4"}


def test_llama_server_sees_with_the_same_projector():
    seeing = replace(subject(), mmproj=Path("/models/mmproj.gguf"))
    options = options_of(export_llama_server(seeing))
    check_option("mmproj", str(options["mmproj"]))
    assert options["mmproj"] == "/models/mmproj.gguf"
    assert read_preset(export_llama_server_ini(seeing).text)["org/small:Q4"]["mmproj"]
    blind = replace(seeing, config=replace(seeing.config, vision=False))
    assert "mmproj" not in options_of(export_llama_server(blind))


def test_llama_server_gets_what_the_config_says():
    given = subject(max_tokens=77, n_cpu_moe=2, use_mmap=False, use_mlock=True)
    options = options_of(export_llama_server(given))
    config = given.config
    assert options == {
        "model": PLAIN, "alias": "org/small:Q4", "ctx-size": str(config.n_ctx),
        "parallel": str(config.n_parallel), "batch-size": str(config.n_batch),
        "ubatch-size": str(config.n_ubatch), "gpu-layers": str(config.n_gpu_layers),
        "n-cpu-moe": "2", "threads": str(config.n_threads),
        "threads-batch": str(config.n_threads_batch), "cache-type-k": config.type_k,
        "cache-type-v": config.type_v, "flash-attn": "auto", "load-mode": "mlock", "fit": "off",
        "cache-ram": str(config.prefix_cache // MIB),
        "no-kv-unified": None, "predict": "77",
    }  # fmt: skip


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_shell_gives_llama_server_the_very_path(path: str, tmp_path: Path):
    program = tmp_path / "llama-server"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "run.sh"
    script.write_text(export_llama_server(subject(path, "a'b $X")).text, encoding="utf-8")
    done = subprocess.run(
        ["sh", str(script), "--port", "9"], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:{os.defpath}"},
    )  # fmt: skip
    words = done.stdout.split("\0")
    assert words[:4] == ["--model", path, "--alias", "a'b $X"]
    assert words[-3:] == ["--port", "9", ""]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_preset_holds_the_very_path_or_is_refused(path: str):
    if any(char in path for char in ";#\n") or path != path.strip():
        with pytest.raises(CannotExport, match="presets cannot hold"):
            export_llama_server_ini(subject(path))
    else:
        text = export_llama_server_ini(subject(path)).text
        assert read_preset(text)["org/small:Q4"]["model"] == path


@pytest.mark.parametrize(
    ("model_id", "section"),
    [("default", "default-model"), ("*", "*-model"), ("a]b\nc", "a_b_c"), ("x;y#z", "x;y#z")],
)
def test_a_section_is_no_other_one(model_id: str, section: str):
    text = export_llama_server_ini(subject(model_id=model_id)).text
    assert [name for name in read_preset(text) if name != "default"] == [section]


def test_a_name_with_a_comma_would_be_two():
    exported = export_llama_server(subject(model_id="a,b"))
    assert "alias" not in options_of(exported)
    assert "# left out: alias: a comma in it separates names\n" in exported.text


@pytest.mark.parametrize("path", ODD_PATHS)
def test_ollama_reads_the_very_path(path: str):
    source, _ = read_modelfile(export_ollama(subject(path)).text)
    assert source == path


@pytest.mark.parametrize("path", ["/a\x01b.gguf", "/no\u00a0break.gguf", '/a"\nb"""\nc d.gguf'])
def test_a_path_that_a_modelfile_cannot_hold_is_refused(path: str):
    with pytest.raises(CannotExport, match="Modelfile") as caught:
        export_ollama(subject(path))
    assert caught.value.message.isprintable()


def test_ollama_gets_what_it_can_be_told_and_the_rest_is_named():
    given = subject(max_tokens=77, n_cpu_moe=2, use_mlock=True)
    exported = export_ollama(given)
    _, parameters = read_modelfile(exported.text)
    assert parameters == {
        "num_ctx": str(given.config.n_ctx_slot), "num_batch": "2048",
        "num_gpu": str(given.config.n_gpu_layers), "num_thread": str(given.config.n_threads),
        "use_mmap": "true", "num_predict": "77",
    }  # fmt: skip
    for name in ("n_parallel", "type_k", "flash_attn", "n_ubatch", "cache_ttl_s", "n_cpu_moe",
                 "use_mlock", "template"):  # fmt: skip
        assert any(name in item for item in exported.left_out)


@pytest.mark.parametrize("export", [export_llama_server, export_llama_server_ini, export_ollama])
def test_what_is_left_out_stands_in_the_file(export):
    exported = export(subject(model_id="evil\r\x1b[2J"))
    assert exported.left_out
    comments = [line for line in exported.text.split("\n") if line.startswith("#")]
    for item in exported.left_out:
        assert f"# left out: {item}" in comments
    assert all(line.isprintable() for line in comments)


def test_ollama_takes_no_part_of_a_model():
    with pytest.raises(CannotExport, match="split") as caught:
        export_ollama(subject("/m/big-00001-of-00003.gguf"))
    assert "--merge" in str(caught.value.remedy)


def service(**fields: Any) -> Service:
    usual = Service(("/bin/true", "-m", "mlm"), "small", Path("/h/config/small.yaml"), Path("/h"),
                    Path("/c/hub"), "someone")  # fmt: skip
    return replace(usual, **fields)


def unit(given: Subject, runs: Service, plan: MemoryPlan | None = None) -> str:
    return export_systemd(given, plan or planned(given.config), runs).text


def planned(config: RuntimeConfig) -> MemoryPlan:
    return plan_memory(SHAPE, config, BOX)


def test_a_service_serves_the_model_with_its_config_and_may_do_little_else():
    given = subject(n_gpu_layers=0)
    settings = dict(read_unit(unit(given, service())))
    assert split_unit_words(settings["ExecStart"]) == [
        ":/bin/true", "-m", "mlm", "--home", "/h", "serve", "--max-models", "1", "--config",
        "/h/config/small.yaml", "--", "small",
    ]  # fmt: skip
    assert settings["User"] == "someone"
    assert settings["NoNewPrivileges"] == settings["PrivateDevices"] == "yes"
    assert (settings["ProtectSystem"], settings["Restart"]) == ("strict", "on-failure")
    assert settings["ReadWritePaths"] == '"/h"'
    need = planned(given.config).devices[0].total + given.config.prefix_cache
    assert need + 128 * MIB < int(settings["MemoryMax"]) < 1.2 * need + 512 * MIB
    assert "LimitMEMLOCK" not in settings


def test_a_service_that_locks_memory_or_uses_a_gpu_is_allowed_to():
    given = subject(use_mlock=True)
    assert given.config.n_gpu_layers
    settings = dict(read_unit(unit(given, service())))
    assert settings["LimitMEMLOCK"] == "infinity"
    assert "PrivateDevices" not in settings


def test_a_service_whose_files_are_temporary_sees_them():
    assert dict(read_unit(unit(subject(), service())))["PrivateTmp"] == "yes"
    assert "PrivateTmp" not in dict(read_unit(unit(subject("/tmp/x.gguf"), service())))


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_service_is_given_the_very_words(path: str):
    runs = service(ref=path, config_file=Path(path + ".yaml"), hub_cache=Path(path))
    settings = dict(read_unit(unit(subject(path, model_id=path), runs)))
    words = split_unit_words(settings["ExecStart"])
    assert (words[-1], words[-3]) == (path, path + ".yaml")
    assert split_unit_words(settings["Environment"]) == [f"HF_HUB_CACHE={path}"]


@pytest.mark.parametrize(
    "fields", [{"home": Path("/two\nlines")}, {"mlm": ('/a"b/python', "-m", "mlm")}]
)
def test_what_systemd_cannot_be_told_is_refused(fields: dict[str, Any]):
    with pytest.raises(CannotExport, match="systemd cannot be told"):
        unit(subject(), service(**fields))


@real_systemd
@pytest.mark.parametrize("path", [p for p in ODD_PATHS if not set(p) & set("\n\t")])
def test_systemd_itself_takes_the_unit(path: str, tmp_path: Path):
    given = replace(subject(path, model_id=path), config=replace(subject().config, use_mlock=True))
    runs = service(ref=path, home=Path(path), config_file=Path(path), hub_cache=Path(path))
    file = tmp_path / "mlm-test.service"
    file.write_text(unit(given, replace(runs, user="root")), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@real_llama_server
@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, EVERYTHING, {"use_mmap": False}])
def test_the_real_llama_server_takes_the_script(fields: dict[str, Any], tmp_path: Path):
    script = tmp_path / "run.sh"
    script.write_text(export_llama_server(subject("/a b/c.gguf", **fields)).text)
    path = f"{Path(str(LLAMA_SERVER)).parent}:{os.defpath}"
    for words, code in ((["--version"], 0), (["--no-such-option", "--version"], 1)):
        done = subprocess.run(["sh", str(script), *words], env={"PATH": path}, capture_output=True)
        assert done.returncode == code, done.stderr
