"""mlm's engine beside llama-server: the same models, threads, contexts and types, taking turns.

    python scripts/bench_engine.py LLAMA_SERVER [--folder FOLDER] [--model NAME] [--rounds N]
                                   [--scenario NAME] [--max-tokens N]

LLAMA_SERVER is a llama-server built from the same llama.cpp source, with the same flags, as the
engine that is installed. Both servers have the model loaded all the time; one works while the other
waits. What is not named here is left as each of them chooses: in particular llama-server keeps its
prompt cache in main memory (--cache-ram) and its way of laying out KV streams. mlm's response cache
is off. Models are made by bench_models.py, in FOLDER. The last line is JSON.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_models import make_model
from both_servers import (
    MLM,
    Layout,
    engine_version,
    llama_version,
    serving_llama,
    serving_mlm,
    to_words,
)

from mlm.bench.scenarios import NEW_TOKENS, all_scenarios

MODELS = ("qwen2.5-0.5b", "llama-3.2-1b")
N_SLOTS, N_CTX_SLOT, N_BATCH, N_UBATCH = 16, 2560, 2048, 512
KV_TYPE, FLASH_ATTENTION = "f16", "on"
# mlm's figure divided by that of llama-server.
TARGETS = {
    ("distinct-1", "total_tps"): 0.97,
    ("distinct-4", "total_tps"): 1.0,
    ("distinct-8", "total_tps"): 1.0,
    ("distinct-16", "total_tps"): 1.0,
    ("shared-prefix", "cold_s"): 0.25,
    ("shared-prefix", "warm_s"): 1.0,
    ("long-prompt", "itl_p99_ms"): 0.1,
    ("long-prompt", "ttft_ms"): 1.5,
    ("chat", "ttft_ms"): 1.0,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    llama_server: Path
    folder: Path
    models: tuple[str, ...]
    scenarios: tuple[str, ...]
    rounds: int
    max_tokens: int


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and stop the servers
    options = _read_options()
    n_threads = os.cpu_count() or 1
    print(f"{platform.platform()}, {n_threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"mlm: {engine_version()}; other: {llama_version(options.llama_server)}")
    print(
        f"both: {N_SLOTS} slots of {N_CTX_SLOT} tokens, batch {N_BATCH}, ubatch {N_UBATCH}, KV "
        f"{KV_TYPE}, flash attention {FLASH_ATTENTION}; llama-server keeps its own prompt cache\n"
    )
    found = {name: _compare(options, name, n_threads) for name in options.models}
    print(json.dumps(found))


def _read_options() -> Options:
    parser = argparse.ArgumentParser(description="mlm's engine beside llama-server")
    parser.add_argument("llama_server", type=Path)
    folder = Path(tempfile.gettempdir()) / "mlm-bench-models"
    parser.add_argument("--folder", type=Path, default=folder, help="where models are, or are made")
    parser.add_argument("--model", action="append", choices=MODELS, help="default: both")
    names = [scenario.name for scenario in all_scenarios()]
    parser.add_argument("--scenario", action="append", choices=names, help="default: all")
    parser.add_argument("--rounds", type=int, default=9, help="that count; one more comes before")
    parser.add_argument("--max-tokens", type=int, default=NEW_TOKENS, help="of an answer")
    given = parser.parse_args()
    if not os.access(given.llama_server, os.X_OK):
        parser.error(f"{given.llama_server} is not a program")
    return Options(
        given.llama_server,
        given.folder,
        tuple(given.model or MODELS),
        tuple(given.scenario or names),
        given.rounds,
        given.max_tokens,
    )


def _compare(options: Options, name: str, n_threads: int) -> dict[str, Any]:
    """Let both servers play with one model; print each scenario's figures, return the ratios."""
    model = make_model(name, options.folder)
    layout = Layout(N_SLOTS, N_CTX_SLOT, n_threads, N_BATCH, N_UBATCH, KV_TYPE, FLASH_ATTENTION)
    print(f"{name}, {options.rounds} rounds, answers of {options.max_tokens} tokens")
    print("scenario       figure           mlm    other   ratio        95 %        range  target")
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as home,
        serving_mlm(model, layout, Path(home)) as a,
        serving_llama(options.llama_server, model, layout, Path(home)) as b,
    ):
        for scenario in options.scenarios:
            flags = {"--rounds": options.rounds, "--max-tokens": options.max_tokens}
            words = [a, "--against", b, "--scenario", scenario, *to_words(flags)]
            command = [*MLM, "--home", home, "bench", *words, "--json"]
            load = os.getloadavg()[0]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            document = json.loads(done.stdout)
            if "against" not in document:
                raise SystemExit(f"mlm bench failed: {document['error']['message']}")
            _show(document["against"], load)
            found |= _summary(document["against"])
    print()
    return found


def _show(against: dict[str, Any], load: float) -> None:
    for ratio in against["ratios"]:
        key = ratio["scenario"], ratio["figure"]
        target, value = TARGETS[key], ratio["ratio"]
        is_met = value >= target if ratio["is_better_higher"] else value <= target
        wish = f"{'>=' if ratio['is_better_higher'] else '<='} {target:g}"
        interval = "?" if ratio["low"] is None else f"{ratio['low']:.2f}-{ratio['high']:.2f}"
        print(
            f"{key[0]:14} {key[1]:11}{_digits(ratio['a'])}{_digits(ratio['b'])}{value:8.3f}"
            f"{interval:>12}{ratio['least']:8.2f}-{ratio['most']:.2f}  {wish:7} "
            f"{'met' if is_met else 'missed'}"
        )
    costs = " and ".join(f"{cost:.0f}" for cost in against["cpu_us_per_token"].values() if cost)
    remarks = [f"load {load:.1f} before", f"asking took {costs} us of CPU per token"]
    print(f"  ({'; '.join([*remarks, *against['remarks']])})", flush=True)


def _digits(value: float) -> str:
    return f"{value:9.1f}" if value < 1000 else f"{value:9.0f}"


def _summary(against: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{ratio['scenario']} {ratio['figure']}": {
            name: round(ratio[name], 3) if ratio[name] is not None else None
            for name in ("ratio", "low", "high", "least", "most", "a", "b")
        }
        for ratio in against["ratios"]
    }


if __name__ == "__main__":
    main()
