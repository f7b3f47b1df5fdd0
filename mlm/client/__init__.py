"""A small client of OpenAI-compatible servers: answers come as events, failures as `MlmError`."""

from mlm.client.answer import Delta, Event, Finished, Usage
from mlm.client.client import Client
from mlm.client.recording import Recording
from mlm.client.refusal import ContextLengthError, StreamCutError

__all__ = [
    "Client",
    "ContextLengthError",
    "Delta",
    "Event",
    "Finished",
    "Recording",
    "StreamCutError",
    "Usage",
]
