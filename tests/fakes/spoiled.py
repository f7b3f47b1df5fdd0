"""Models with numbers in them that are none."""

import shutil
import struct
from pathlib import Path

from mlm.gguf.reader import read_metadata


def spoil(
    source: Path, target: Path, tensor: str, row: int = 0, value: float = float("nan")
) -> Path:
    """Copy a model of 32-bit floats, with ``value`` for the first number of a row of a tensor."""
    metadata = read_metadata(source)
    (found,) = (each for each in metadata.tensors if each.name == tensor)
    assert found.type_name == "F32"
    n_columns, n_rows = (*found.shape, 1)[:2]
    shutil.copy(source, target)
    with target.open("r+b") as file:
        file.seek(metadata.header_bytes + found.offset + 4 * n_columns * (row % n_rows))
        file.write(struct.pack("<f", value))
    return target
