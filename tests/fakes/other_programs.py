"""Strict readers of the files that `mlm config export` writes, by the rules of their programs."""

import re
from pathlib import Path

_OPTIONS = Path(__file__).parents[1] / "fixtures" / "llama_server_options.txt"

# Options in api/types.go of github.com/ollama/ollama at fb3076099687 (August 2026).
_OLLAMA_PARAMETERS = {
    "num_keep": int, "seed": int, "num_predict": int, "top_k": int, "top_p": float,
    "min_p": float, "typical_p": float, "repeat_last_n": int, "temperature": float,
    "repeat_penalty": float, "presence_penalty": float, "frequency_penalty": float, "stop": str,
    "num_ctx": int, "num_batch": int, "num_gpu": int, "main_gpu": int, "use_mmap": bool,
    "num_thread": int, "draft_num_predict": int,
}  # fmt: skip


def llama_server_options() -> dict[str, str]:
    """Return each long option of llama-server with the hint of its value, "" for a switch."""
    lines = _OPTIONS.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if not line.startswith("#"))
    return {name: hint for name, _, hint in pairs}


def check_option(name: str, value: str | None) -> None:
    """Fail unless llama-server takes the option with this value; None: without one."""
    hint = llama_server_options()[name]
    assert (value is None) == (hint == ""), f"--{name} {value}, but {hint!r} is wanted"
    if hint == "N":
        assert re.fullmatch(r"-?[0-9]+", value or ""), f"--{name} {value}"
    elif choices := re.fullmatch(r"\[(.+)\]", hint):
        assert value in choices[1].split("|"), f"--{name} {value}"
    elif name.startswith("cache-type"):  # common/arg.cpp, kv_cache_types
        assert value in ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]
    elif name == "load-mode":  # the same file
        assert value in ["auto", "none", "mmap", "mlock", "mmap+mlock", "dio"]


def read_preset(text: str) -> dict[str, dict[str, str]]:
    """Return the sections of an INI file as llama-server reads presets (common/preset.cpp)."""
    sections: dict[str, dict[str, str]] = {}
    current = "default"
    for line in re.split(r"\r\n|\n|\r", text):
        if re.fullmatch(r"[ \t]*([;#].*)?", line):
            continue
        if header := re.fullmatch(r"\[[ \t]*([^]]+?)[ \t]*\][ \t]*([;#].*)?", line):
            current = header[1]
            sections[current] = {}
            continue
        pair = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*(.*)", line)
        assert pair, f"no line of a preset: {line!r}"
        value = re.split(r"[ \t]*[;#]", pair[2])[0].rstrip(" \t")
        sections.setdefault(current, {})[pair[1]] = value
    return sections


def read_modelfile(text: str) -> tuple[str, dict[str, str]]:
    """Return what FROM says and the parameters, as Ollama reads them (parser/parser.go)."""
    source, parameters = None, {}
    rest = text
    while rest := rest.lstrip(" \t\r\n"):
        if rest.startswith("#"):
            rest = re.split(r"[\r\n]", rest, maxsplit=1)[1]
            continue
        command = re.match(r"(FROM|PARAMETER ([A-Za-z0-9_]+))[ \t]", rest)
        assert command, f"no command of a Modelfile: {rest[:40]!r}"
        value, rest = _modelfile_value(rest[command.end() :])
        if command[2] is None:
            source = value
        else:
            _check_parameter(command[2], value)
            parameters[command[2]] = value
    assert source is not None, "no FROM line"
    return source, parameters


def _modelfile_value(text: str) -> tuple[str, str]:
    """Return the value at the start of ``text``, and what follows: it ends with the first line
    that closes the quote it may have begun with."""
    for end in [match.start() for match in re.finditer(r"[\r\n]", text)] + [len(text)]:
        value = text[:end].strip()
        for quote in ('"""', '"'):
            if value.startswith(quote):
                if len(value) >= 2 * len(quote) and value.endswith(quote):
                    return value[len(quote) : -len(quote)], text[end:]
                break
        else:
            return "".join(c for c in value if c.isprintable()), text[end:]
    raise AssertionError(f"an open quote: {text!r}")


def _check_parameter(name: str, value: str) -> None:
    kind = _OLLAMA_PARAMETERS[name]
    if kind is bool:
        assert value in ("true", "false")
    else:
        kind(value)


def read_unit(text: str) -> list[tuple[str, str]]:
    """Return the settings of a systemd unit in order; each is on one line."""
    settings = []
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            name, equals, value = line.partition("=")
            assert equals, f"no line of a unit: {line!r}"
            settings.append((name, value))
    return settings


def split_unit_words(text: str) -> list[str]:
    """Return the words of an ExecStart as systemd takes them apart (systemd.syntax(7))."""
    words = []
    for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
        word = re.sub(r"\\(x[0-9a-f]{2}|.)", _unescape, quoted)
        assert "%" not in word.replace("%%", ""), f"a specifier: {word!r}"
        words.append(word.replace("%%", "%"))
    assert re.sub(r'"((?:[^"\\]|\\.)*)"', "", text).strip() == "", f"something unquoted: {text!r}"
    return words


def _unescape(match: "re.Match[str]") -> str:
    code = match[1]
    if code.startswith("x"):
        return chr(int(code[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)
