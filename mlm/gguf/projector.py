"""What the header of a projector (mmproj) says: the file with which a model sees."""

from dataclasses import dataclass

from mlm.gguf.errors import GGUFError
from mlm.gguf.keys import Keys
from mlm.gguf.types import GGUFHeader, GGUFMetadata

_MERGES = ("spatial_merge_size", "projector.scale_factor")
# Of LLaVA's and MiniCPM-V's time, when files had CLIP's own width, or none, where now stands that
# of the model: only their tensors tell.
_SILENT_KINDS = frozenset(("mlp", "mlp_norm", "ldp", "ldpv2", "resampler", "adapter"))
_LAST_TENSORS = ("mm.", "resampler.", "adapter.")  # between what is seen and what the model reads


@dataclass(frozen=True, slots=True)
class ProjectorMetadata:
    """The encoder of pictures, and how it is tied to its model. Lengths of a side are in pixels."""

    kind: str  # llama.cpp's projector type: gemma3, idefics3, qwen2vl_merger …
    widths_out: frozenset[int]  # one of them is that of what comes out
    n_embd: int
    n_ff: int
    image_size: int  # a side of what is encoded in one go; for some kinds only a proposal
    patch_size: int
    n_merge: int  # patches in a row that become one token, as many in a column; 0 = not told
    max_pixels: int  # of a picture, where the file says so; 0 = it does not
    is_gated: bool  # the feed-forward part has a gate beside it
    has_places: bool  # learned embeddings say where a patch is
    n_deepstack: int  # layers whose results the model gets besides the last
    n_bytes: int  # of all tensors

    def suits(self, model: GGUFMetadata) -> bool:
        """Whether ``model`` can take in what comes out of it, as far as both headers tell."""
        return model.n_embd in self.widths_out


def describe_projector(header: GGUFHeader) -> ProjectorMetadata:
    """Return what ``header`` says of its projector.

    Raises:
        GGUFError: it is none, none for pictures, or it lacks what every one has.
    """
    keys = Keys("clip", header.values)
    if header.values.get("general.architecture") != "clip" or not keys.get("has_vision_encoder"):
        raise GGUFError("it is no projector for pictures")
    kind = keys.get("projector_type") or keys.get("vision.projector_type")
    merge = max(keys.count(f"vision.{name}", 0) for name in _MERGES)
    names = [tensor.name for tensor in header.tensors]
    return ProjectorMetadata(
        kind=kind if isinstance(kind, str) else "",
        widths_out=_widths_out(str(kind), keys, header),
        n_embd=keys.count("vision.embedding_length"),
        n_ff=keys.count("vision.feed_forward_length"),
        image_size=keys.count("vision.image_size"),
        patch_size=keys.count("vision.patch_size"),
        n_merge=merge,
        max_pixels=keys.count("vision.image_max_pixels", 0),
        is_gated=any(name.startswith("v.") and ".ffn_gate." in name for name in names),
        has_places=any(name.startswith("v.position_embd.") for name in names),
        n_deepstack=sum(name.startswith("v.deepstack.") and ".fc1.w" in name for name in names),
        n_bytes=sum(tensor.n_bytes for tensor in header.tensors),
    )


def _widths_out(kind: str, keys: Keys, header: GGUFHeader) -> frozenset[int]:
    width = keys.count("vision.projection_dim")
    if kind not in _SILENT_KINDS:
        return frozenset((width,))
    last = (tensor for tensor in header.tensors if tensor.name.startswith(_LAST_TENSORS))
    return frozenset(size for tensor in last for size in tensor.shape)
