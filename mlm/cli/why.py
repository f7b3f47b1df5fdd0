"""``mlm why``: why a model is as fast as it is, and why this quantization."""

from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import JsonOpt, RefArg
from mlm.cli._session import print_document, print_text, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlm.cli._model import Subject
    from mlm.cli._why_quant import Choice
    from mlm.planning.evidence import Evidence, Finding

_INDENT = " " * 6


EXAMPLES = {
    "mlm why qwen3-8b": "What limits its speed, and what would help",
    "mlm why qwen3-8b:Q8_0 --json": "Another quantization, for a script",
}


def why(ctx: typer.Context, ref: RefArg, as_json: JsonOpt = False) -> None:
    """Say why a model is as fast as it is, what would make it faster, and why this quantization.

    A running server that has the model is asked for its figures.
    """
    from mlm.cli._catalog import open_catalog
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import find_subject
    from mlm.cli._why_evidence import find_resident, gather, without
    from mlm.cli._why_quant import find_choice
    from mlm.planning.why import explain

    machine = planned_machine(session(ctx))
    subject = find_subject(session(ctx), ref, machine)
    resident = find_resident(session(ctx), subject)
    machine = without(machine, resident)
    choice = find_choice(open_catalog(session(ctx)), subject, machine)
    evidence = gather(session(ctx), subject, machine, resident, choice)
    findings = explain(evidence)
    if as_json:
        print_document("why", _document(subject, evidence, findings, choice))
    else:
        print_text(_text(subject, findings, choice))


def _document(
    subject: "Subject",
    evidence: "Evidence",
    findings: "Sequence[Finding]",
    choice: "Choice | None",
) -> dict[str, Any]:
    from dataclasses import asdict

    from mlm.cli._planned import context_fields, interval_fields

    decode, prefill = evidence.predicted
    return {
        "ref": subject.ref,
        "model": subject.model_id,
        "installed": subject.file is not None,
        "server": evidence.live.url if evidence.live else None,
        "placement": evidence.placement,
        "context": context_fields(evidence.config),
        "n_gpu_layers": evidence.config.n_gpu_layers,
        "predicted": {
            "decode_tps": interval_fields(decode),
            "prefill_tps": interval_fields(prefill),
        },
        "measured": asdict(evidence.measured) if evidence.measured else None,
        "findings": [asdict(finding) for finding in findings],
        "quant": choice.fields() if choice else None,
    }


def _text(subject: "Subject", findings: "Sequence[Finding]", choice: "Choice | None") -> str:
    from mlm.cli._columns import one_line, wrap

    lines = [one_line(subject.ref), ""]
    for finding in findings:
        lines.append(wrap(finding.what, indent=f"{finding.status:<6}"))
        lines.append(wrap(finding.evidence, indent=_INDENT))
        if finding.fix:
            lines.append(f"{_INDENT}fix: {one_line(finding.fix)}")
    lines += ["", "Why this quantization"]
    if choice is None:
        lines.append("  it is not in the catalog, so there is nothing to compare it with")
    else:
        lines += [wrap(reason, indent="  - ") for reason in choice.reasons()]
    return "\n".join(lines)
