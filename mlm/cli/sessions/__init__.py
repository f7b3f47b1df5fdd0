"""``mlm sessions``: conversations that were had."""

from mlm.cli._lazy import lazy_app

EXAMPLES = {
    "mlm sessions list": "What was talked about, the last first",
    "mlm sessions search rate limit": "Find what was said",
    "mlm sessions show": "Read the last one",
}

app = lazy_app(
    "mlm.cli.sessions",
    ("list_", "show", "search", "export", "rename", "rm"),
    examples=EXAMPLES,
    help="Conversations that were had: read them, search them, take them elsewhere.",
)
