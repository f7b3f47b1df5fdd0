"""Files that belong to a model but are no model of their own: projectors, importance matrices.

``mmproj``: what turns pictures into what the model reads. ``imatrix``: what its quantization was
weighed by. Both come along with the model; ``mtp`` heads are only fetched by name.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Literal

from mlm.store.types import ModelFile, RemoteFile

Role = Literal["mmproj", "imatrix", "mtp"]

# Uploaders write mmproj-F16.gguf, model-mmproj-f16.gguf, imatrix.gguf, Model.imatrix.gguf.
_ROLE = re.compile(r"(?:^|[-._])(mmproj|imatrix)(?=[-._])|^(mtp)(?=[-._])", re.IGNORECASE)
# llama.cpp computes projectors in half precision: F16 loses nothing, BF16 is slower on old CPUs.
_PREFERRED = ("f16", "bf16", "q8_0", "f32")


def side_role(filename: str) -> Role | None:
    """Return what a side file is for, None if ``filename`` is a model's."""
    match = _ROLE.search(PurePosixPath(filename).name)
    return (match[1] or match[2]).lower() if match else None  # type: ignore[return-value]


def choose_side_files(filename: str, files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """Return the side files among ``files`` that come along with the model ``filename``.

    One of each role: beside the model rather than in a folder above it, in the most useful type.
    """
    folders = [str(folder) for folder in PurePosixPath(filename).parents]
    chosen: dict[Role, RemoteFile] = {}
    for file in sorted(files, key=lambda file: _rank(file, folders)):
        role = side_role(file.filename)
        if role in ("mmproj", "imatrix") and str(PurePosixPath(file.filename).parent) in folders:
            chosen.setdefault(role, file)
    return tuple(chosen[role] for role in sorted(chosen, reverse=True))


def choose_projectors(model: ModelFile, files: Iterable[ModelFile]) -> list[ModelFile]:
    """Return the projectors among ``files`` that came with ``model``, the most useful first."""
    folders = [str(folder) for folder in PurePosixPath(model.filename).parents]
    beside = [
        file
        for file in files
        if side_role(file.filename) == "mmproj"
        and is_beside(file, model)
        and str(PurePosixPath(file.filename).parent) in folders
    ]
    return sorted(beside, key=lambda file: _rank(file, folders))


def _rank(file: RemoteFile | ModelFile, folders: Sequence[str]) -> tuple[int, int, int, str]:
    path = PurePosixPath(file.filename)
    folder = str(path.parent)
    words = re.split(r"[-.]", path.stem.lower())
    kinds = [number for number, kind in enumerate(_PREFERRED) if kind in words]
    return (
        folders.index(folder) if folder in folders else len(folders),
        min(kinds, default=len(_PREFERRED)),
        file.size_bytes,
        file.filename,
    )


def is_beside(file: ModelFile, model: ModelFile) -> bool:
    """Whether a side file came with ``model``: out of the same repository, or the same folder."""
    if file.repo_id or model.repo_id:
        return (file.repo_id, file.commit) == (model.repo_id, model.commit)
    return file.path.parent == model.path.parent


def without_side_files(files: Sequence[ModelFile]) -> list[ModelFile]:
    """Return ``files`` without the side files that have their model among them."""
    models = [file for file in files if side_role(file.filename) is None]
    return [
        file
        for file in files
        if side_role(file.filename) is None or not any(is_beside(file, m) for m in models)
    ]
