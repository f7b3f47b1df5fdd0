"""``mlm keys``: who may use the servers of this machine."""

from mlm.cli._lazy import lazy_app

EXAMPLES = {
    "mlm keys add alice": "Let alice in, and from now on nobody without a key",
    "mlm keys list": "Who has a key",
}

app = lazy_app(
    "mlm.cli.keys",
    ("add", "list_", "revoke"),
    examples=EXAMPLES,
    help="API keys: who may use the servers of this machine.",
)
