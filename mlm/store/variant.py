"""The quantizations that a repository offers: its files, grouped and named."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from mlm.errors import NotFoundError, UsageError
from mlm.store.names import split_shard
from mlm.store.ref import HubRef
from mlm.store.side_files import choose_side_files, side_role
from mlm.store.types import RemoteFile, RepoFiles

# How uploaders write quantizations: Q4_K_M, IQ4_XS, TQ1_0, UD-Q4_K_XL, i1-Q4_K_M, MXFP4, BF16.
_QUANT = re.compile(
    r"(?:^|[-._/])((?:UD-|i1-)?"
    r"(?:I?Q\d(?:_[0-9A-Z]+)*|TQ\d_\d|BF16|FP?16|FP?32|MXFP4(?:_[A-Z0-9]+)*|NVFP4))(?=$|[-._/])",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"^(?:UD|i1)-", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Variant:
    """One model in one quantization: a file, or all its shards in order."""

    quant: str | None  # as the uploader writes it; None where the name does not say
    files: tuple[RemoteFile, ...]
    side_files: tuple[RemoteFile, ...] = ()  # what comes along; only `choose_variant` looks

    @property
    def filename(self) -> str:
        """The first file: the one that is loaded."""
        return self.files[0].filename

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


def read_quant(filename: str) -> str | None:
    """Return the quantization that a file name mentions last: ``Q4_K_M``."""
    found = _QUANT.findall(split_shard(filename)[0])
    return found[-1] if found else None


def group_variants(files: Iterable[RemoteFile]) -> list[Variant]:
    """Return what can be run among ``files``, smallest first."""
    shards: dict[tuple[str, int], list[RemoteFile]] = defaultdict(list)
    for file in files:
        if side_role(file.filename) is None:
            stem, _, count = split_shard(file.filename)
            shards[stem, count].append(file)
    variants = [
        Variant(read_quant(stem), tuple(sorted(parts, key=lambda part: part.filename)))
        for (stem, _), parts in shards.items()
    ]
    return sorted(variants, key=lambda variant: (variant.size_bytes, variant.filename))


def choose_variant(repo: RepoFiles, wanted: HubRef) -> Variant:
    """Return what ``wanted`` names in ``repo``, with all its shards.

    Raises:
        NotFoundError: it is not there; the message names what is.
        UsageError: several would do, and nothing says which.
    """
    variants = group_variants(repo.files)
    if wanted.filename:
        found = _with_filename(variants, wanted)
        if not found:  # a side file is no variant, but may be asked for by name
            found = [Variant(None, (f,)) for f in repo.files if f.filename == wanted.filename]
    else:
        found = _with_quant(variants, wanted.quant)
    if not found:
        raise _not_there(repo, variants, wanted)
    if len(found) > 1:
        raise _ambiguous(repo, found, wanted)
    variant = found[0]
    _check_complete(repo, variant)
    if side_role(variant.filename) is None:
        variant = replace(variant, side_files=choose_side_files(variant.filename, repo.files))
    return variant


def _with_filename(variants: list[Variant], wanted: HubRef) -> list[Variant]:
    return [v for v in variants if any(f.filename == wanted.filename for f in v.files)]


def _with_quant(variants: list[Variant], quant: str | None) -> list[Variant]:
    """Return the variants called ``quant``; an uploader's prefix may be left out."""
    if quant is None:
        return variants
    asked = quant.casefold()
    exact = [v for v in variants if v.quant and v.quant.casefold() == asked]
    if exact:
        return exact
    return [v for v in variants if v.quant and _PREFIX.sub("", v.quant).casefold() == asked]


def _not_there(repo: RepoFiles, variants: list[Variant], wanted: HubRef) -> NotFoundError:
    if not variants:
        return NotFoundError(
            f"{repo.repo_id} holds no GGUF file",
            remedy="look for a repository of the same model whose name ends in -GGUF",
        )
    if wanted.filename:
        names = [file.filename for file in repo.files]
        near = get_close_matches(wanted.filename, names, n=3, cutoff=0.3) or names[:3]
        return NotFoundError(
            f"{repo.repo_id} has no file {wanted.filename}; near it: {', '.join(near)}",
            remedy=f"mlm download {repo.repo_id}/{near[0]}",
        )
    quants = list(dict.fromkeys(v.quant for v in variants if v.quant))
    asked = str(wanted.quant)
    if not quants:
        return NotFoundError(
            f"{repo.repo_id} does not say how its files are quantized",
            remedy=f"mlm download {repo.repo_id}/{variants[0].filename}",
        )
    near = get_close_matches(asked.upper(), quants, n=1, cutoff=0.3) or quants[:1]
    return NotFoundError(
        f"{repo.repo_id} has no {asked}; it has {', '.join(quants)}",
        remedy=f"mlm download {repo.repo_id}:{near[0]}",
    )


def _ambiguous(repo: RepoFiles, found: list[Variant], wanted: HubRef) -> UsageError:
    if wanted.quant is None and wanted.filename is None:
        names = list(dict.fromkeys(v.quant or v.filename for v in found))
        first = found[0]
        ref = HubRef(repo.repo_id, first.quant, None if first.quant else first.filename)
        return UsageError(
            f"{repo.repo_id} has {', '.join(names)}: say which", remedy=f"mlm download {ref}"
        )
    names = [variant.filename for variant in found]
    return UsageError(
        f"{wanted} could be {', '.join(names)}: say which",
        remedy=f"mlm download {repo.repo_id}/{names[0]}",
    )


def _check_complete(repo: RepoFiles, variant: Variant) -> None:
    there = {split_shard(file.filename)[1] for file in variant.files}
    count = split_shard(variant.filename)[2]
    missing = sorted(set(range(1, count + 1)) - there)
    if missing or len(variant.files) != count:
        raise NotFoundError(
            f"{repo.repo_id} lacks shard {', '.join(map(str, missing))} of {count}"
            f" of {variant.filename}",
            remedy="choose another quantization, or ask the uploader for the missing shard",
        )
