"""Which server `mlm bench` measures: one at a URL, or one that serves a REF."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.cli._session import Session
from mlm.errors import NotFoundError, UsageError
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.client import Client

SCHEMES = ("http://", "https://")


@contextmanager
def open_target(
    session: Session, target: str, overrides: Overrides, model: str | None, key_file: Path | None
) -> Iterator[tuple["Client", str]]:
    """Yield a client of the server at a URL, or of one that serves a REF; and the model's id."""
    if not target.startswith(SCHEMES):
        if model or key_file:
            raise UsageError("--model and --api-key-file go with a URL", remedy="mlm bench --help")
        from mlm.cli._serving import connect

        with connect(session, target, overrides) as (client, model_id):
            yield client, model_id
        return
    if overrides != Overrides():
        raise UsageError("the runtime config of a server elsewhere is its own", remedy="mlm serve")
    remedy = f"mlm bench {target} --model ID"
    with _open_url(target, model, key_file, remedy) as found:
        yield found


@contextmanager
def open_other(
    url: str | None, model: str | None, key_file: Path | None
) -> Iterator[tuple["Client", str] | None]:
    """Yield a client of the second server and the model's id there; None where there is none."""
    if url is None:
        yield None
        return
    with _open_url(url, model, key_file, f"--against {url} --against-model ID") as found:
        yield found


@contextmanager
def _open_url(
    url: str, model: str | None, key_file: Path | None, remedy: str
) -> Iterator[tuple["Client", str]]:
    """Yield a client of the server at ``url``, and the id of its ``model``, or of its first one."""
    from mlm.client import Client

    with Client(url, read_key(key_file)) as client:
        offered = client.models()
        if not offered or (model and model not in offered):
            names = ", ".join(offered[:10]) or "nothing"
            raise NotFoundError(
                f"{url} does not offer {model or 'any model'}, but {names}", remedy=remedy
            )
        yield client, model or offered[0]


def read_key(file: Path | None) -> str | None:
    """Return the API key that ``file`` holds; None without a file.

    Raises:
        NotFoundError: it cannot be read.
    """
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(
            f"cannot read the key in {file}: {error}",
            remedy="name a file that holds nothing but the key",
        ) from error
