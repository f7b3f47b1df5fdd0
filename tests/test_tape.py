"""A tape tells afterwards what a client would have heard, and when."""

import select
import time

import pytest

from mlm.client import Client, ContextLengthError, Recording, StreamCutError, Tape
from mlm.errors import MlmError, NetworkError

QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(openai_server):
    with Client(openai_server.url, "sk-key", agent="somebody") as client:
        yield client


def taped(client: Client, **params: object) -> Tape:
    tape = client.tape_chat(QUESTION, model="tiny", **params)
    tape.connect()
    tape.ask()
    return tape


def listen(tape: Tape, n_events: int = 1_000_000) -> Tape:
    while not tape.is_over and tape.n_events < n_events:
        select.select([tape], [], [], 10)
        tape.listen(time.perf_counter())
    return tape


def failure(tape: Tape) -> MlmError:
    with pytest.raises(MlmError) as caught:
        tape.play().wait()
    return caught.value


def test_a_tape_holds_what_a_client_hears(openai_server, client):
    heard = Recording(client.chat(QUESTION, model="tiny", seed=7))
    heard.wait()
    played = listen(taped(client, seed=7)).play()
    played.wait()
    assert played.text == heard.text == "Hello there"
    assert played.finished == heard.finished
    live, later = openai_server.asked
    assert later.body == live.body
    assert later.headers["Authorization"] == live.headers["Authorization"]
    assert later.headers["User-Agent"] == "somebody"


def test_times_are_those_of_then_however_late_it_is_played(client):
    tape = listen(taped(client))
    over_s = time.perf_counter()
    first, second = tape.play(), tape.play()
    first.wait()
    second.wait()
    assert first.e2e_s == second.e2e_s
    assert first.arrivals_s == second.arrivals_s
    assert tape.asked_s <= first.arrivals_s[0] <= first.arrivals_s[-1] <= over_s


def test_it_has_a_connection_of_its_own(openai_server, client):
    tapes = [taped(client), taped(client)]
    assert [listen(tape).is_over for tape in tapes] == [True, True]
    assert openai_server.connections == 2


def test_a_stream_that_is_not_in_chunks_is_understood_too(openai_server, client):
    def reply(connection):
        connection.send_response(200)
        connection.end_headers()
        connection.wfile.write(b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n')
        connection.wfile.write(b"data: [DONE]\n\n")
        connection.close_connection = True

    openai_server.does(reply)
    recording = listen(taped(client)).play()
    recording.wait()
    assert recording.text == "Hi"


def test_nobody_there_is_told_when_it_is_played():
    tape = taped(Client("http://127.0.0.1:9"))
    assert tape.is_over
    assert isinstance(failure(tape), NetworkError)
    assert "nobody listens there" in failure(tape).message


def test_a_refusal_is_the_servers_own_word(openai_server, client):
    openai_server.n_ctx_bytes = 1
    assert isinstance(failure(listen(taped(client))), ContextLengthError)


def test_what_came_before_the_connection_broke_is_kept(openai_server, client):
    openai_server.breaks_off_after("Hel")
    recording = listen(taped(client)).play()
    with pytest.raises(StreamCutError):
        recording.wait()
    assert recording.text == "Hel"


def test_who_leaves_has_no_failure_and_the_server_learns_of_it(openai_server, client):
    openai_server.hesitates_after("Once", " upon")
    tape = listen(taped(client), n_events=2)
    tape.leave()
    recording = tape.play()
    recording.wait()
    assert (recording.text, recording.finished) == ("Once upon", None)
    assert openai_server.client_left.wait(10)


def test_who_gives_up_says_that_the_server_is_silent(openai_server, client):
    openai_server.hesitates_after("Once")
    tape = listen(taped(client), n_events=1)
    tape.give_up()
    assert isinstance(failure(tape), StreamCutError)
    assert "it does not answer" in failure(tape).message
