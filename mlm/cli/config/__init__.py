"""``mlm config``: how each model is run on this machine."""

from mlm.cli._lazy import lazy_app

EXAMPLES = {
    "mlm config show qwen3-8b": "How it is run, and why so",
    "mlm config generate qwen3-8b --profile production": "Choose anew, for many users",
}

app = lazy_app(
    "mlm.cli.config",
    ("generate", "show", "edit", "diff", "rollback", "export"),
    examples=EXAMPLES,
    help="How each model is run: a YAML file per model in MLM_HOME/config.",
)
