"""The documentation is true: generated pages are fresh, what exists is described, links lead on."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from generate_reference import generated_files

from mlm.cli.app import COMMANDS
from mlm.cli.config.export import Target
from mlm.engine.messages import SamplingParams
from mlm.manifest.document import read_schema
from mlm.manifest.manifest_file import read_manifest
from mlm.planning.config_file import allowed_values
from mlm.planning.profiles import PROFILES, Profile
from mlm.planning.types import RuntimeConfig
from mlm.server.openapi.document import OPERATIONS

ROOT = Path(__file__).parents[1]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_what_is_generated_is_fresh(path: Path):
    assert path.read_text(encoding="utf-8") == generated_files()[path], "run `make docs`"


def test_nothing_is_left_of_what_was_generated_before():
    assert sorted(set((ROOT / "man").iterdir()) - set(generated_files())) == []


@pytest.mark.parametrize("path", sorted((ROOT / "man").glob("*.1")), ids=lambda path: path.name)
def test_a_manual_page_has_its_sections(path: Path):
    found = re.findall(r'^\.SH "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    always = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "EXAMPLES",
        "EXIT STATUS",
        "ENVIRONMENT",
        "SEE ALSO",
    ]
    assert [title for title in found if title not in ("COMMANDS", "OPTIONS")] == always


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="there is no mandoc here")
def test_manual_pages_are_in_order():
    pages = [str(path) for path in sorted((ROOT / "man").glob("*.1"))]
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", *pages], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not t.startswith("http")]
    assert [t for t in targets if not (path.parent / t).exists()] == []


def test_every_environment_variable_is_documented():
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "mlm").rglob("*.py"))
    # what mlm sets for a library of its own is not for people
    source = re.sub(r'os\.environ\["HF_HUB_.*', "", source)
    read = r'environ(?:ment)?(?:\.get\(|\[|, )"([A-Z][A-Z_]+)"|"((?:MLM|XDG|SSH)_[A-Z_]+)"'
    used = {name for names in re.findall(read, source) for name in names if name}
    described = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    assert {"NO_COLOR", "MLM_SAVE_CHATS", "DISPLAY", "SSH_TTY"} <= used
    unknown = {name for name in used if f"`{name}`" not in described}
    assert unknown - {"PATH"} == set()


def test_every_command_in_the_docs_exists():
    known = {module.removesuffix("_") for module in COMMANDS}
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS)
    typed = set(re.findall(r"(?:^\$ |^|`)mlm ([a-z]+)\b", text, re.MULTILINE))
    assert typed - known == set()


def test_every_key_of_a_runtime_config_is_documented():
    described = (ROOT / "docs/reference/runtime-config.md").read_text(encoding="utf-8")
    keys = {field.name for field in dataclasses.fields(RuntimeConfig)} - {"reasons"}
    rows = {key: f"\n| `{key}` | {allowed_values(key)} | " for key in keys}
    assert sorted(key for key, row in rows.items() if row not in described) == []


def test_every_target_of_an_export_is_documented():
    described = (ROOT / "docs/reference/runtime-config.md").read_text(encoding="utf-8")
    assert [target for target in get_args(Target) if f"\n| `{target}` |" not in described] == []


def test_the_table_of_profiles_says_what_they_fix():
    described = (ROOT / "docs/reference/runtime-config.md").read_text(encoding="utf-8")
    rows = {
        f"| `{p.name}` | {p.purpose} | {p.n_ctx_slot}{_stretch(p)} | {p.n_parallel} | `{p.type_kv}`"
        f" | {p.max_tokens or 'null'} | {p.cache_ttl_s} | {str(p.use_mlock).lower()} |"
        for p in PROFILES.values()
    }
    assert sorted(row for row in rows if row not in described) == []


def _stretch(profile: Profile) -> str:
    longer = profile.n_ctx_most > profile.n_ctx_slot
    return f", up to {profile.n_ctx_most} where the cache is cheap" if longer else ""


@pytest.mark.parametrize("name", ["manifest", "lock"])
def test_every_key_of_a_manifest_and_its_lock_is_documented(name: str):
    described = (ROOT / "docs/reference/manifest.md").read_text(encoding="utf-8")
    schema = read_schema(name)
    parts = [schema, *schema["$defs"].values(), *schema["properties"].values()]
    keys = {key for part in parts for key in part.get("properties", {})}
    assert len(keys) > 8
    assert sorted(key for key in keys if f"`{key}`" not in described) == []


def test_the_manifest_in_the_reference_is_one(tmp_path: Path):
    described = (ROOT / "docs/reference/manifest.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```yaml\n(.*?)```", described, re.DOTALL)
    path = tmp_path / "mlm.yaml"
    path.write_text(sample, encoding="utf-8")
    assert len(read_manifest(path).models) == 2


def test_every_field_of_a_request_is_documented():
    described = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    assert [name for name in SamplingParams.__struct_fields__ if f"`{name}`" not in described] == []


def test_every_route_is_documented():
    described = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    source = (ROOT / "mlm/server/app.py").read_text(encoding="utf-8")
    routes = [path.split("/{")[0] for path in re.findall(r"Route\(\"([^\"]+)\"", source)]
    assert routes
    assert [path for path in routes if path not in described] == []


def test_every_route_is_described_to_programs():
    """In `mlm/server/openapi/document.py`, for `GET /openapi.json`."""
    source = (ROOT / "mlm/server/app.py").read_text(encoding="utf-8")
    routes = re.findall(r"Route\(\"([^\"]+)\"", source)
    described = {operation.path for operation in OPERATIONS}
    assert [path for path in routes if path.replace(":path}", "}") not in described] == []


def test_every_json_document_is_documented():
    described = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "mlm/cli").rglob("*.py"))
    emitted = set(re.findall(r"(?:emit|print_document)\(\s*\"([a-z.]+)\"", source))
    assert sorted(name for name in emitted if f"`mlm.{name}/1`" not in described) == []


def test_the_container_starts_a_server_that_wants_keys(mlm, tmp_path: Path):
    text = (ROOT / "docs/how-to/Containerfile").read_text(encoding="utf-8")
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)
    (words,) = re.findall(r"^CMD (\[\"serve.+)$", text, re.MULTILINE)
    assert json.loads(entrypoint) == ["mlm"]
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    refused = mlm(*json.loads(words))
    assert refused.exit_code == 2
    assert "/run/secrets/mlm-keys cannot be read" in refused.stderr
