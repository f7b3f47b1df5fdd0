"""``mlm engine``: the build of llama.cpp that runs models."""

from mlm.cli._lazy import lazy_app

EXAMPLES = {
    "mlm engine list": "Which build of llama.cpp is installed",
    "mlm engine install": "Build it for what this machine has",
}

app = lazy_app(
    "mlm.cli.engine",
    ("list_", "check", "install"),
    examples=EXAMPLES,
    help="The build of llama.cpp that runs models: what it is, whether it works, a new one.",
)
