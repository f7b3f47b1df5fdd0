"""``mlm catalog``: the models that mlm knows."""

from mlm.cli._lazy import lazy_app

app = lazy_app(
    "mlm.cli.catalog",
    ("list_", "show", "validate", "update", "add", "rm"),
    help="The models that mlm knows; your own go to MLM_HOME/catalog.",
)
