"""A small client of OpenAI-compatible servers: answers come as events, failures as `MlmError`."""

from mlm.client.answer import Delta, Event, Finished, Usage
from mlm.client.client import BENCH_AGENT, SILENCE_TIMEOUT_S, Client, ModelAction
from mlm.client.recording import Recording
from mlm.client.refusal import ContextLengthError, StreamCutError
from mlm.client.tape import Tape

__all__ = [
    "BENCH_AGENT",
    "SILENCE_TIMEOUT_S",
    "Client",
    "ContextLengthError",
    "Delta",
    "Event",
    "Finished",
    "ModelAction",
    "Recording",
    "StreamCutError",
    "Tape",
    "Usage",
]
