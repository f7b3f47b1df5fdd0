"""The client understands every honest server, and names what is wrong with the others."""

import json
import socket

import pytest
from fakes.openai_server import OpenAIServer

from mlm.client import (
    Client,
    ContextLengthError,
    Delta,
    Event,
    Finished,
    StreamCutError,
    Usage,
)
from mlm.client.sse import MAX_EVENT_BYTES, EventStream, OversizedEvent, ServerSentEvent
from mlm.errors import (
    AuthError,
    DoesNotFitError,
    EngineError,
    MlmError,
    NetworkError,
    NotFoundError,
    UsageError,
)

QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(openai_server: OpenAIServer):
    with Client(openai_server.url) as client:
        yield client


def ask(client: Client, **params: object) -> list[Event]:
    return list(client.chat(QUESTION, model="tiny", **params))


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_an_answer_is_deltas_and_then_the_whole_truth(openai_server, client):
    openai_server.says("Hello", " there", engine="llama.cpp")
    assert ask(client) == [
        Delta("Hello"),
        Delta(" there"),
        Finished("stop", Usage(40, 2, cached_tokens=8), "bypass", {"engine": "llama.cpp"}),
    ]


def test_params_reach_the_server_and_none_is_not_sent(openai_server, client):
    ask(client, temperature=0, max_tokens=None)
    body = openai_server.asked[-1].body
    assert body["messages"] == QUESTION
    assert body["stream_options"] == {"include_usage": True}
    assert body["temperature"] == 0
    assert "max_tokens" not in body


def test_a_raw_completion_has_no_template(openai_server, client):
    events = list(client.complete("Once upon", model="tiny"))
    assert text_of(events) == "Hello there"
    assert openai_server.asked[-1].path == "/v1/completions"
    assert openai_server.asked[-1].body["prompt"] == "Once upon"


def test_thinking_is_told_apart_from_the_answer(openai_server, client):
    thought = {"choices": [{"delta": {"reasoning_content": "hm"}}]}
    openai_server.sends(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(thought).encode())
    assert ask(client) == [Delta("hm", thinking=True), Finished(None, cache="bypass")]


def test_questions_in_a_row_share_one_connection(openai_server, client):
    for _ in range(3):
        ask(client)
        client.models()
    assert openai_server.connections == 1


def test_a_kept_connection_that_the_server_closed_is_replaced(openai_server, client):
    openai_server.breaks_off_after("Hel")
    with pytest.raises(StreamCutError):
        ask(client)
    ask_again = client.health()
    client._connection.sock.shutdown(socket.SHUT_RDWR)
    assert client.health() == ask_again
    assert openai_server.connections == 3


def test_leaving_an_answer_half_way_hangs_up(openai_server, client):
    openai_server.hesitates_after("Hel")
    answer = client.chat(QUESTION, model="tiny")
    assert next(answer) == Delta("Hel")
    answer.close()
    assert openai_server.client_left.wait(10)
    openai_server.says("again")
    assert text_of(ask(client)) == "again"


def test_the_key_goes_with_every_request(openai_server):
    with Client(openai_server.url + "/v1/", api_key="sk-1") as client:
        assert client.models() == ("tiny",)
    assert openai_server.asked[-1].path == "/v1/models"
    assert openai_server.asked[-1].headers["Authorization"] == "Bearer sk-1"


@pytest.mark.parametrize(
    ("status", "error", "family"),
    [
        (400, {"message": "bad temperature"}, UsageError),
        (400, {"message": "too long", "code": "context_length_exceeded"}, ContextLengthError),
        (401, {"message": "no key"}, AuthError),
        (403, {"message": "wrong host"}, AuthError),
        (404, {"message": "no such model", "code": "model_not_found"}, NotFoundError),
        (413, {"message": "too large"}, UsageError),
        (429, {"message": "queue is full"}, NetworkError),
        (500, {"message": "template_error"}, EngineError),
        (502, {"message": "worker died of SIGSEGV", "code": "worker_crashed"}, EngineError),
        (503, {"message": "shutting down"}, EngineError),
        (503, {"message": "needs 40 GiB", "code": "does_not_fit"}, DoesNotFitError),
        (302, {"message": "elsewhere"}, NetworkError),
    ],
)
def test_each_refusal_has_its_own_error(openai_server, client, status, error, family):
    openai_server.refuses(status, {"error": error})
    with pytest.raises(family) as caught:
        ask(client)
    assert error["message"] in caught.value.message
    openai_server.says("fine again")
    assert text_of(ask(client)) == "fine again"


@pytest.mark.parametrize(
    "body", [b"<html>Bad Gateway</html>", b"", b"[1]", b'{"error": "odd"}', b'{"detail": 7}', b"["]
)
def test_a_refusal_may_say_anything(openai_server, client, body):
    openai_server.refuses(502, body)
    with pytest.raises(EngineError, match="the server answered 502"):
        ask(client)


def test_a_full_queue_says_when_to_come_back(openai_server, client):
    openai_server.refuses(429, {"error": {"message": "full"}}, Retry_After="7")
    with pytest.raises(NetworkError) as caught:
        ask(client)
    assert caught.value.remedy == "try again in 7 s"


def test_the_servers_own_advice_is_passed_on(openai_server, client):
    openai_server.refuses(404, {"error": {"message": "no", "remedy": "mlm download tiny"}})
    with pytest.raises(NotFoundError) as caught:
        ask(client)
    assert caught.value.remedy == "mlm download tiny"


def test_an_error_inside_the_stream_is_the_engines(openai_server, client):
    openai_server.sends(b'event: error\ndata: {"error": {"message": "worker died"}}\n\n')
    with pytest.raises(EngineError, match="worker died"):
        ask(client)


def test_a_stream_that_just_ends_was_cut_off(openai_server, client):
    openai_server.sends(b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n')
    with pytest.raises(StreamCutError, match="cut the answer off"):
        ask(client)


def test_a_connection_that_breaks_was_cut_off(openai_server, client):
    openai_server.breaks_off_after("Hel", "lo")
    answer = client.chat(QUESTION, model="tiny")
    assert [next(answer), next(answer)] == [Delta("Hel"), Delta("lo")]
    with pytest.raises(StreamCutError):
        next(answer)


@pytest.mark.parametrize(
    "data", [b"nonsense", b"[]", b'{"choices": 3}', b'{"choices": [7]}', b"[" * 100_000, b'"x"']
)
def test_chunks_that_make_no_sense_are_not_taken_for_an_answer(openai_server, client, data):
    openai_server.sends(b"data: " + data + b"\n\n")
    with pytest.raises(NetworkError):
        ask(client)


def test_a_server_that_is_not_there_is_refused_with_a_way_out():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(NetworkError, match="nobody listens there") as caught:
            client.models()
    assert "mlm serve" in str(caught.value.remedy)


def test_a_server_that_says_nothing_is_given_up(openai_server):
    openai_server.hesitates_after("Hel")
    with Client(openai_server.url, silence_s=0.05) as client, pytest.raises(StreamCutError):
        ask(client)


def test_something_that_does_not_speak_http_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", silence_s=5)
        client._connection.connect()
        peer, _ = listener.accept()
        with peer, client:
            peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            with pytest.raises(NetworkError):
                client.models()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x:y", "http://a b", "http://u:p@x"]
)
def test_an_address_that_is_none_is_a_usage_error(url):
    with pytest.raises(UsageError):
        Client(url)


def test_a_key_with_a_newline_is_refused_before_it_splits_a_header():
    with pytest.raises(UsageError):
        Client("http://127.0.0.1:1", api_key="a\r\nX-Evil: 1")


HELLO = ServerSentEvent("message", '{"text": "héllo 👋"}')
STREAMS = {
    "plain": 'data: {"text": "héllo 👋"}\n\n',
    "crlf": 'data: {"text": "héllo 👋"}\r\n\r\n',
    "cr": 'data: {"text": "héllo 👋"}\r\r',
    "comments": ': ping\n\n: pong\ndata: {"text": "héllo 👋"}\n\n: bye\n\n',
    "no space": 'data:{"text": "héllo 👋"}\n\n',
    "other fields": 'id: 7\nretry: 3\nevent\ndata: {"text": "héllo 👋"}\n\n',
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_events_are_the_same_wherever_the_bytes_are_cut(stream: str):
    whole = stream.encode()
    for cut in range(len(whole) + 1):
        events = EventStream()
        assert events.feed(whole[:cut]) + events.feed(whole[cut:]) == [HELLO]


def test_bytes_may_come_one_by_one():
    events = EventStream()
    stream = "data: a\r\ndata: b\r\n\r\nevent: error\r\ndata: ü\r\n\r\n".encode()
    assert [e for byte in stream for e in events.feed(bytes([byte]))] == [
        ServerSentEvent("message", "a\nb"),
        ServerSentEvent("error", "ü"),
    ]


def test_a_line_may_be_long_but_not_endless():
    events = EventStream()
    text = "x" * 300_000
    assert events.feed(f"data: {text}\n\n".encode()) == [ServerSentEvent("message", text)]
    with pytest.raises(OversizedEvent):
        events.feed(b"data: " + b"x" * MAX_EVENT_BYTES)
    with pytest.raises(OversizedEvent):
        EventStream().feed((b"data: " + b"x" * 2**20 + b"\n") * (MAX_EVENT_BYTES // 2**20 + 1))


def test_every_failure_tells_what_to_do_next(openai_server, client):
    for status in (401, 404, 429, 500, 302):
        openai_server.refuses(status, {"error": {"message": "no"}})
        with pytest.raises(MlmError) as caught:
            ask(client)
        assert caught.value.remedy
