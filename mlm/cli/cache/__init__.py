"""``mlm cache``: answers kept for the next time the same thing is asked."""

from mlm.cli._lazy import lazy_app

app = lazy_app(
    "mlm.cli.cache",
    ("stats", "clear", "prune"),
    help="Answers that servers keep for the next time the same thing is asked.",
)
