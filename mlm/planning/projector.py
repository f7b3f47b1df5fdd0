"""What a projector takes: its weights, and what pictures are encoded in.

llama.cpp's libmtmd holds both on the first accelerator if any layer is on one, else in main memory.
Its compute buffer is made when a projector is loaded, and grows with a larger picture.
"""

from typing import TYPE_CHECKING

from mlm.pictures import MAX_SHOWN_PIXELS
from mlm.planning.types import Projector

if TYPE_CHECKING:
    from mlm.gguf.projector import ProjectorMetadata

_FLOAT = 4
# Kinds that take a picture as large as it is, with the most tokens that they make of it and the
# patches in a row of a token where the file does not say: set_limit_image_tokens in clip.cpp.
_MOST_TOKENS = {
    "qwen2vl_merger": (4096, 2),
    "qwen2.5vl_merger": (4096, 2),
    "qwen3vl_merger": (4096, 2),
    "ling3vl": (4096, 2),
    "glm4v": (4096, 2),
    "muse-glimmer": (4096, 2),
    "kimik25": (4096, 1),
    "gemma4v": (1120, 3),
    "gemma4uv": (1120, 3),
    "pixtral": (1024, 1),
    "kimivl": (1024, 1),
    "minimax_m3": (576, 2),
    "lfm2": (256, 2),
}
_WINDOWED = "qwen2.5vl_merger"  # masks its attention, with a number for each pair of patches
_GUESSED_SHARE = 0.5  # of the file; from 0.1 (Gemma 3) over 0.4 (Qwen2-VL) to 1.4 (Qwen2.5-VL)


def projector_from_header(found: "ProjectorMetadata") -> Projector:
    """Return what the projector takes whose header this is."""
    return Projector(found.n_bytes, encoder_bytes(found, most_patches(found)), is_known=True)


def projector_of_size(n_bytes: int) -> Projector:
    """Return what a projector probably takes of which only the size of its file is known."""
    return Projector(n_bytes, int(n_bytes * _GUESSED_SHARE), is_known=False)


def most_patches(found: "ProjectorMetadata") -> int:
    """Return of how many patches the largest picture consists that is encoded in one go."""
    area = max(found.patch_size, 1) ** 2
    if found.kind in _MOST_TOKENS:
        n_tokens, merge = _MOST_TOKENS[found.kind]
        patches = n_tokens * (found.n_merge or merge) ** 2
    elif found.max_pixels:
        patches = found.max_pixels // area
    else:
        return (found.image_size // max(found.patch_size, 1)) ** 2
    return min(patches, MAX_SHOWN_PIXELS // area)


def encoder_bytes(found: "ProjectorMetadata", n_patches: int) -> int:
    """Return the compute buffer with which so many patches are encoded, in bytes.

    What is alive at once in the graphs of libmtmd (``build_vit`` in clip.cpp and ``models/``) with
    flash attention: around the feed-forward part the layer's input, its normed form, the result
    and what is inside; around attention queries, keys and values, the latter two again in half
    precision. Compared with what llama.cpp of llama-cpp-python 0.3.36 reserved for the shapes of
    17 published projectors: within 17 % (``tests/planning/test_projector.py``).
    """
    width, inner, width_out = found.n_embd, found.n_ff, max(found.widths_out, default=0)
    if found.kind == _WINDOWED:
        floats = max(4.0 * width + 2 * inner + n_patches, 3.0 * width + 1.5 * n_patches)
    elif found.is_gated:
        floats = 3.6 * width + 3 * inner
    else:
        floats = max(6.0 * width, (3 if found.has_places else 2) * width + inner)
    if found.kind in ("mlp", "mlp_norm"):  # LLaVA's: every patch is projected
        floats = max(floats, 2 * width_out + 2.6 * width)
    if found.kind in _MOST_TOKENS:
        floats += 3 * found.patch_size**2  # the picture itself stays
    if found.n_deepstack:
        floats += (2 * found.n_deepstack - 2) * width_out / (found.n_merge or 2) ** 2
    return int(floats * n_patches * _FLOAT)
