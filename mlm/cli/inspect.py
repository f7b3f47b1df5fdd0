"""``mlm inspect``: what the header of a GGUF file says, here or on the hub."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import Session, print_document, print_text, session
from mlm.completion.names import complete_known
from mlm.errors import ExitCode

if TYPE_CHECKING:
    from mlm.cli._lint import Report
    from mlm.gguf.types import GGUFHeader, GGUFMetadata

FileArg = Annotated[
    str,
    typer.Argument(
        metavar="FILE|REF",
        help="./file.gguf, or a model: qwen3-8b:Q4_K_M, org/repo/file.gguf",
        show_default=False,
        autocompletion=complete_known,
    ),
]
_MAX_VALUE = 60  # characters of a value on screen; --json has them whole
_TEMPLATE = "tokenizer.chat_template"


EXAMPLES = {
    "mlm inspect qwen3-8b": "What is in the file, without downloading it",
    "mlm inspect ./model.gguf --lint": "Look for faults of a file of your own",
}


def inspect(
    ctx: typer.Context,
    ref: FileArg,
    lint: Annotated[
        bool, typer.Option("--lint", help="Look for what is wrong with it; exit 5 if something is.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --lint: read all numbers, not a sample of each.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Show metadata, tensors by type, tokenizer and chat template.

    A model on the hub is not downloaded, only its header is read.
    """
    from mlm.cli._model import find_header

    if lint or full:
        _lint(session(ctx), ref, full=full, as_json=as_json)
        return
    name, header = find_header(session(ctx), ref)
    if as_json:
        print_document("inspect", _document(name, header))
    else:
        print_text(_text(name, header))


def _lint(run: Session, ref: str, *, full: bool, as_json: bool) -> None:
    """Print what was found; a finding of severity error means exit code 5."""
    from mlm.cli._lint import lint
    from mlm.cli._progress import show_progress

    with show_progress(run, "auto" if full else "none") as listener:
        report = lint(run, ref, listener, whole=full)
    if as_json:
        payload: dict[str, Any] = {"ref": report.ref}
        if report.header:
            payload = _document(report.ref, report.header)
        payload["lint"] = {
            "ok": not report.is_bad,
            "findings": [asdict(f) for f in report.findings],
        }
        print_document("inspect", payload)
    else:
        print_text(_findings(report))
    raise typer.Exit(ExitCode.INTEGRITY if report.is_bad else ExitCode.OK)


def _findings(report: "Report") -> str:
    from mlm.cli._columns import wrap

    lines = []
    for finding in report.findings:
        text = f"{finding.code}: {finding.what}; {finding.why}"
        lines.append(wrap(text, indent=f"{finding.severity:6}"))
        if finding.fix:
            lines.append(wrap(finding.fix, indent=" " * 6 + "fix: "))
    verdict = "not sound" if report.is_bad else "sound, as far as can be seen"
    return "\n".join([*lines, f"{report.ref}: {verdict}"])


def _model_or_reason(header: "GGUFHeader") -> "tuple[GGUFMetadata | None, str | None]":
    """Return the model that the file holds, or why it holds none."""
    from mlm.gguf.errors import GGUFError
    from mlm.gguf.metadata import describe_model

    try:
        return describe_model(header), None
    except GGUFError as error:
        return None, error.message


def _types(header: "GGUFHeader") -> list[dict[str, Any]]:
    counts = Counter(tensor.type_name for tensor in header.tensors)
    sizes: Counter[str] = Counter()
    for tensor in header.tensors:
        sizes[tensor.type_name] += tensor.n_bytes
    return [
        {"type": name, "tensors": counts[name], "n_bytes": size}
        for name, size in sizes.most_common()
    ]


def _document(ref: str, header: "GGUFHeader") -> dict[str, Any]:
    from mlm.gguf.pairs import MAX_KEPT_ITEMS
    from mlm.gguf.types import TOKENS

    model, reason = _model_or_reason(header)
    left_out = {key for key, n in header.array_lengths.items() if n > MAX_KEPT_ITEMS} | {TOKENS}
    return {
        "ref": ref,
        "gguf_version": header.version,
        "file_bytes": header.file_size,
        "header_bytes": header.header_bytes,
        "not_a_model": reason,
        "model": _model_fields(model) if model else None,
        "types": _types(header),
        "metadata": {key: value for key, value in header.values.items() if key not in left_out},
        "array_lengths": dict(header.array_lengths),
        "tensors": [
            {"name": t.name, "shape": list(t.shape), "type": t.type_name, "n_bytes": t.n_bytes}
            for t in header.tensors
        ],
    }


def _model_fields(model: "GGUFMetadata") -> dict[str, Any]:
    return {
        "architecture": model.architecture,
        "name": model.name,
        "quant": model.quant,
        "params": model.params,
        "n_layer": model.n_layer,
        "n_embd": model.n_embd,
        "n_head": max(model.n_head),
        "n_head_kv": max(model.n_head_kv),
        "n_ctx_train": model.n_ctx_train,
        "n_expert": model.n_expert,
        "sliding_window": model.sliding_window,
        "split_count": model.split_count,
        "tokenizer": {
            "model": model.tokenizer_model,
            "n_tokens": model.n_vocab,
            "bos_token_id": model.bos_token_id,
            "eos_token_id": model.eos_token_id,
        },
        "chat_template": model.chat_template,
    }


def _text(ref: str, header: "GGUFHeader") -> str:
    from mlm.cli._columns import align, wrap
    from mlm.terminal import printable
    from mlm.units import format_size

    model, reason = _model_or_reason(header)
    sections = [align(_facts(ref, header, model))]
    if reason:
        sections.append(wrap(f"Not a model that can run alone: {reason}"))
    rows: list[tuple[str, ...]] = [("TYPE", "TENSORS", "SIZE")]
    rows += [(t["type"], str(t["tensors"]), format_size(t["n_bytes"])) for t in _types(header)]
    sections.append(align(rows, right=(1, 2)))
    sections.append(align([("KEY", "VALUE"), *_metadata(header)]))
    template = header.values.get(_TEMPLATE)
    if isinstance(template, str):
        sections.append(f"CHAT TEMPLATE\n{printable(template)}")
    return "\n\n".join(sections)


def _facts(ref: str, header: "GGUFHeader", model: "GGUFMetadata | None") -> list[tuple[str, str]]:
    from mlm.units import format_params, format_size, format_tokens

    size = f"{format_size(header.file_size)}, header {format_size(header.header_bytes)}"
    facts = [("file", ref), ("size", f"{size}, GGUF version {header.version}")]
    if model is None:
        return facts
    described = f"{model.architecture}, {format_params(model.params)}, {model.quant or '?'}"
    shape = f"{model.n_layer} layers, {model.n_embd} wide, {max(model.n_head)} heads"
    tokenizer = f"{model.tokenizer_model or 'none'}, {model.n_vocab} tokens"
    return [
        *facts,
        ("model", described),
        ("shape", f"{shape}, {max(model.n_head_kv)} of them for keys and values"),
        ("context", f"{format_tokens(model.n_ctx_train)} tokens"),
        ("tokenizer", f"{tokenizer}, end of text {_or_none(model.eos_token_id)}"),
        ("template", "none" if model.chat_template is None else "below"),
    ]


def _metadata(header: "GGUFHeader") -> list[tuple[str, str]]:
    rows = []
    for key, value in header.values.items():
        if key == _TEMPLATE:
            continue
        text = " ".join(str(list(value) if isinstance(value, tuple) else value).split())
        rows.append((key, text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"))
    left_out = [key for key in header.array_lengths if key not in header.values]
    rows += [(key, f"{header.array_lengths[key]} items") for key in left_out]
    return sorted(rows)


def _or_none(value: int | None) -> str:
    return "unknown" if value is None else str(value)
