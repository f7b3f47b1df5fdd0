"""``mlm cache``: answers kept for the next time the same thing is asked."""

from mlm.cli._lazy import lazy_app

EXAMPLES = {
    "mlm cache stats": "How much is kept, and how often it helped",
    "mlm cache clear": "Begin with an empty one",
}

app = lazy_app(
    "mlm.cli.cache",
    ("stats", "clear", "prune"),
    examples=EXAMPLES,
    help="Answers that servers keep for the next time the same thing is asked.",
)
