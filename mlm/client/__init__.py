"""A small client of OpenAI-compatible servers: answers come as events, failures as `MlmError`."""

from mlm.client.answer import Delta, Event, Finished, Usage
from mlm.client.client import BENCH_AGENT, Client
from mlm.client.recording import Recording
from mlm.client.refusal import ContextLengthError, StreamCutError

__all__ = [
    "BENCH_AGENT",
    "Client",
    "ContextLengthError",
    "Delta",
    "Event",
    "Finished",
    "Recording",
    "StreamCutError",
    "Usage",
]
