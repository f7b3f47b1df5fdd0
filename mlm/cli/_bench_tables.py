"""What `mlm bench` shows a person: at most 80 columns."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from mlm.bench.match import Match
    from mlm.bench.ratios import Ratio
    from mlm.bench.report import Comparison, Report
    from mlm.bench.summary import PromptSummary

_MEANING = {
    "A": "as fast as anybody reads",
    "B": "fluent",
    "C": "usable",
    "D": "slow",
    "E": "not for waiting",
}
_LABELS = {"ttft_ms": "first token, ms", "decode_tps": "decode, tok/s", "e2e_ms": "answer, ms"}
_HEADS = (
    "\nN",
    *("TTFT\np50", "ms\np95"),
    *("ITL\np50", "ms\np95", "\np99"),
    *("E2E\np50", "ms\np95"),
    "DECODE\ntok/s",
)


def tables(report: "Report") -> "Group":
    """Return the figures, the rating and the comparison, if there is one."""
    from rich.console import Group
    from rich.text import Text

    from mlm.terminal import printable

    if report.match:
        return _match_tables(report, report.match)
    summary, load = report.summary, report.load
    head = printable(
        f"{report.model}, {load.users} at once, {load.rounds} rounds of {load.max_tokens} tokens"
    )
    speeds = (
        f"prefill {_number(summary.prefill_tps)} tok/s, "
        f"all together {_number(summary.total_tps)} tok/s"
    )
    rating = f"rating {summary.rating}: {_MEANING[summary.rating]}"
    parts: list[Text | Table] = [
        Text(head),
        _figures(report),
        Text(f"{speeds}, {rating}"),
    ]
    if report.comparison:
        parts.append(_comparison(report.comparison))
    return Group(*parts)


def _figures(report: "Report") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("\nPROMPT")
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    rows = dict(report.summary.by_prompt)
    if len(rows) > 1:
        rows["all"] = report.summary.all
    for name, one in rows.items():
        table.add_row(name, *_cells(one))
    return table


def _cells(one: "PromptSummary") -> list[str]:
    figures = (
        *(one.ttft_ms.p50, one.ttft_ms.p95),
        *(one.itl_ms.p50, one.itl_ms.p95, one.itl_ms.p99),
        *(one.e2e_ms.p50, one.e2e_ms.p95),
        one.decode_tps,
    )
    return [str(one.requests), *map(_number, figures)]


def _comparison(comparison: "Comparison") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(Text(f"SINCE {comparison.file.name}"), overflow="ellipsis", no_wrap=True)
    for head in ("BEFORE", "NOW", "RATIO", "95 % INTERVAL", ""):
        table.add_column(head, justify="right", no_wrap=True)
    for change in comparison.changes:
        slower = change.slowdown_pct
        verdict = f"{abs(slower):.0f} % {'slower' if slower > 0 else 'faster'}"
        table.add_row(
            _LABELS[change.metric],
            _number(change.before),
            _number(change.after),
            f"{change.ratio:.2f}",
            f"{change.low:.2f} to {change.high:.2f}",
            verdict if change.is_certain else "no clear change",
        )
    return table


def _match_tables(report: "Report", match: "Match") -> "Group":
    from rich.console import Group
    from rich.text import Text

    from mlm.bench.match import DROPPED
    from mlm.terminal import printable

    names = [
        f"{name.upper()}: {side.model} at {side.client.base_url}"
        for name, side in match.sides.items()
    ]
    method = (
        f"{match.rounds} rounds, taking turns, after {DROPPED} that does not count; a ratio is A / "
        "B of one round, and the middle one is shown with its 95 % interval and its range"
    )
    costs = [match.cpu_us_per_token(name) for name in match.sides]
    cost = f"asking took {_number(costs[0])} and {_number(costs[1])} \u00b5s of CPU per token"
    parts = [Text(printable(line)) for line in names]
    return Group(*parts, Text(method), _ratios(match.ratios), Text(cost))


def _ratios(ratios: "tuple[Ratio, ...]") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("SCENARIO", "FIGURE"):
        table.add_column(head)
    for head in ("A", "B", "RATIO", "INTERVAL", "RANGE"):
        table.add_column(head, justify="right", no_wrap=True)
    for ratio in ratios:
        table.add_row(
            ratio.scenario,
            ratio.figure,
            _number(ratio.a),
            _number(ratio.b),
            f"{ratio.ratio:.2f}",
            _between(ratio.low, ratio.high),
            _between(ratio.least, ratio.most),
        )
    return table


def _between(low: float | None, high: float | None) -> str:
    return "?" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _number(value: float | None) -> str:
    """Return three digits, as many as anybody compares: 3.25, 45.1, 1234."""
    if value is None:
        return "?"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
