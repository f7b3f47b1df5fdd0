"""``mlm engine``: the build of llama.cpp that runs models."""

from mlm.cli._lazy import lazy_app

app = lazy_app(
    "mlm.cli.engine",
    ("list_", "check", "install"),
    help="The build of llama.cpp that runs models: what it is, whether it works, a new one.",
)
