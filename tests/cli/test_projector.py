"""What a model of the hub sees with: it comes along, is checked like the model, and is loaded."""

from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.mlm_serve import mlm_serve
from fakes.tiny_models import write_tiny_model
from fakes.tiny_projector import write_tiny_projector

from mlm.client import Client
from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

REF = "org/Seer-GGUF:Q8_0"


@pytest.fixture
def eyes(mlm, hub: FakeHub, hub_cache: Path, tmp_path: Path) -> Path:
    """The projector of a model that was downloaded with it."""
    model = write_tiny_model(tmp_path / "model.gguf", "gemma3")
    projector = write_tiny_projector(tmp_path / "projector.gguf", "gemma3")
    hub.add(
        "org/Seer-GGUF",
        File("Seer-Q8_0.gguf", model.read_bytes()),
        File("mmproj-F32.gguf", projector.read_bytes()),
    )
    assert mlm("download", REF).exit_code == ExitCode.OK
    (found,) = hub_cache.glob("models--*/snapshots/*/mmproj-F32.gguf")
    return found


def test_a_download_is_all_that_it_takes_to_see(eyes: Path, home: Path):
    with mlm_serve(home, REF, "--threads", "1") as server:
        server.wait_for("loaded")
        with Client(server.url) as client:
            assert client.takes_pictures(REF)


def test_one_that_has_rotted_is_not_loaded(mlm, eyes: Path):
    blob = eyes.resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x55")
    result = mlm("serve", REF)
    assert result.exit_code == ExitCode.INTEGRITY
    assert "mmproj-F32.gguf" in result.stderr
    assert "--repair" in result.stderr
