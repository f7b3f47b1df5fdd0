"""The way into this room: a model file, or a source of bytes, to its metadata."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mlm.gguf.errors import GGUFError
from mlm.gguf.header import read_header
from mlm.gguf.metadata import describe_model
from mlm.gguf.source import ByteSource, FileSource
from mlm.gguf.types import GGUFHeader, GGUFMetadata

_SHARD = re.compile(r"-00001-of-(\d{5})\.gguf$")
MAX_SHARDS = 1000


def read_metadata(path: Path) -> GGUFMetadata:
    """Return what the model file ``path`` says of itself; its further shards are read as well.

    Raises:
        NotFoundError: there is no such file.
        GGUFError: it, or one of its shards, is not a sound GGUF model.
    """
    with _opened(path) as source:
        first = read_metadata_from(source)
    if first.split_count == 1:
        return first
    return add_shards(first, [read_file_header(shard) for shard in shard_paths(path)[1:]])


def read_file_header(path: Path) -> GGUFHeader:
    """Return the header of any GGUF file: also of a projector, an adapter, a later shard.

    Raises:
        NotFoundError: there is no such file.
        GGUFError: it is not a sound GGUF file.
    """
    with _opened(path) as source:
        return read_header(source)


def read_metadata_from(source: ByteSource) -> GGUFMetadata:
    """Return what the first or only file of a model, read through ``source``, says of itself.

    Raises:
        GGUFError: it is not a sound GGUF model.
    """
    return describe_model(read_header(source))


def add_shards(first: GGUFMetadata, rest: list[GGUFHeader]) -> GGUFMetadata:
    """Return ``first`` with the tensors of the model's further shards.

    Raises:
        GGUFError: a shard is missing, or a tensor is in two of them.
    """
    if len(rest) != first.split_count - 1:
        raise GGUFError(f"it has {first.split_count} parts, but there are {len(rest) + 1}")
    tensors, before = first.tensors, first.file_size
    for shard in rest:
        tensors += tuple(replace(t, offset=t.offset + before) for t in shard.tensors)
        before += shard.file_size
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise GGUFError("two of its parts hold the same tensor")
    return replace(
        first,
        tensors=tensors,
        params=sum(tensor.n_elements for tensor in tensors),
        file_size=before,
    )


def shard_paths(first: Path) -> list[Path]:
    """Return the paths of all parts of a split model, given that of the first.

    Raises:
        GGUFError: the name does not follow llama.cpp's pattern, so the parts cannot be found.
    """
    match = _SHARD.search(first.name)
    if match is None or not 0 < int(match[1]) <= MAX_SHARDS:
        raise GGUFError(
            f"{first.name} is a part of a split model, but not named like the first of them",
            remedy="name the part that ends in -00001-of-…",
        )
    stem = first.name[: match.start()]
    count = int(match[1])
    return [first.with_name(f"{stem}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1)]


@contextmanager
def _opened(path: Path) -> Iterator[FileSource]:
    """Open ``path``; what is found to be wrong with its content then names it."""
    with FileSource(path) as source:
        try:
            yield source
        except GGUFError as error:
            raise GGUFError(f"{path}: {error.message}", remedy=error.remedy) from error
