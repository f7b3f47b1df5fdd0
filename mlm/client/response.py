"""From an HTTP response to the events of an answer."""

from collections.abc import Iterator
from http.client import HTTPResponse

from mlm.client.answer import Event, read_answer
from mlm.client.refusal import BROKEN, StreamCutError, describe
from mlm.client.sse import EventStream, ServerSentEvent


def read_response(response: HTTPResponse) -> Iterator[Event]:
    """Yield the events of the answer that ``response`` streams; see `read_answer`.

    Raises:
        StreamCutError: the connection breaks, or what comes is no HTTP any more.
    """
    try:
        yield from read_answer(_read_events(response), response.getheader("X-Mlm-Cache"))
    except BROKEN as error:
        raise StreamCutError(describe(error)) from error


def _read_events(response: HTTPResponse) -> Iterator[ServerSentEvent]:
    stream = EventStream()
    while data := response.read1(65536):
        yield from stream.feed(data)
