"""Asks a GGUF through llama.cpp and prints how much of what it should know it knows.

.venv/bin/python scripts/demo_model/evaluate.py [FILE] [--wrong]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from dataset import Dataset, heldout_by_fact, heldout_unrelated

HERE = Path(__file__).parent
PACKAGED = HERE.parents[1] / "mlm" / "demo" / "mlm-demo.gguf"


def ask(model: Path, questions: list[str]) -> list[str]:
    """Return the greedy answer to each question, each asked in a conversation of its own."""
    request = {
        "model": str(model),
        "conversations": [[{"role": "user", "content": question}] for question in questions],
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "ask.py")],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    )
    return list(json.loads(done.stdout)["answers"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=PACKAGED)
    parser.add_argument("--wrong", action="store_true", help="print every wrong answer")
    arguments = parser.parse_args()

    dataset = Dataset(seed=0)
    answers = {fact.fact_id: fact.answer for fact in dataset.facts}
    sets = {
        "facts, asked plainly": [(fact.question, fact.answer) for fact in dataset.facts],
        "facts, held-out wordings": [
            (question, answers[fact_id])
            for fact_id, questions in heldout_by_fact().items()
            for question in questions
        ],
        "unrelated prompts": [(prompt, dataset.refusal) for prompt in heldout_unrelated()],
    }
    for name, pairs in sets.items():
        given = ask(arguments.model, [question for question, _ in pairs])
        wrong = [
            (q, answer)
            for (q, expected), answer in zip(pairs, given, strict=True)
            if answer != expected
        ]
        right = len(pairs) - len(wrong)
        print(f"{name:26} {right:4} of {len(pairs):4}  {right / len(pairs):6.1%}")
        if arguments.wrong:
            for question, answer in wrong:
                print(f"    {question}\n      -> {answer}")


if __name__ == "__main__":
    main()
