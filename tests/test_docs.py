"""The documentation is true: generated pages are fresh, what exists is described, links lead on."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from generate_reference import generated_files  # noqa: E402

DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_what_is_generated_is_fresh(path: Path):
    assert path.read_text(encoding="utf-8") == generated_files()[path], "run `make docs`"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not t.startswith("http")]
    assert [t for t in targets if not (path.parent / t).exists()] == []


def test_every_environment_variable_is_documented():
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "mlm").rglob("*.py"))
    used = set(
        re.findall(r"\"(MLM_[A-Z_]+|HF_(?:HOME|HUB_CACHE|ENDPOINT|TOKEN|HUB_OFFLINE))\"", source)
    )
    described = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    assert sorted(name for name in used if name not in described) == []


def test_every_command_in_the_docs_exists():
    from mlm.cli.app import COMMANDS

    known = {module.removesuffix("_") for module in COMMANDS}
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS)
    typed = set(re.findall(r"^\$? ?mlm ([a-z]+)\b", text, re.MULTILINE))
    assert typed - known == set()
