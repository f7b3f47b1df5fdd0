"""``mlm keys``: who may use the servers of this machine."""

from mlm.cli._lazy import lazy_app

app = lazy_app(
    "mlm.cli.keys",
    ("add", "list_", "revoke"),
    help="API keys: who may use the servers of this machine.",
)
