"""``mlm catalog``: the models that mlm knows."""

from mlm.cli._lazy import lazy_app

EXAMPLES = {
    "mlm catalog list --use embedding": "The models for embeddings",
    "mlm catalog show qwen3-8b": "All that is known of one",
}

app = lazy_app(
    "mlm.cli.catalog",
    ("list_", "show", "validate", "update", "add", "rm"),
    examples=EXAMPLES,
    help="The models that mlm knows; your own go to MLM_HOME/catalog.",
)
