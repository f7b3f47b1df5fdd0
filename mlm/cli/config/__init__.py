"""``mlm config``: how each model is run on this machine."""

from mlm.cli._lazy import lazy_app

app = lazy_app(
    "mlm.cli.config",
    ("generate", "show", "edit", "diff", "rollback", "export"),
    help="How each model is run: a YAML file per model in MLM_HOME/config.",
)
