"""A wave asks everybody at once and listens to all of them."""

import gc
import threading

import pytest

from mlm.bench.wave import Wave
from mlm.client import Client, StreamCutError, Tape


@pytest.fixture
def tapes(openai_server) -> list[Tape]:
    question = [{"role": "user", "content": "hi"}]
    client = Client(openai_server.url)
    return [client.tape_chat(question, model="tiny") for _ in range(4)]


def test_all_are_asked_before_the_first_one_is_answered(openai_server, tapes):
    everybody = threading.Barrier(4)
    openai_server.says("Hello", " there")
    answer = openai_server.told

    def reply(connection):
        everybody.wait(20)
        answer(connection)

    openai_server.does(reply)
    with Wave() as wave:
        wave.ask(tapes)
        wave.take_in()
    for tape in tapes:
        recording = tape.play()
        recording.wait()
        assert recording.text == "Hello there"
        assert 0 < recording.e2e_s <= wave.wall_s
    assert wave.cpu_s > 0


def test_listening_can_end_early_and_whoever_still_answers_is_hung_up_on(openai_server, tapes):
    openai_server.hesitates_after("Once", " upon")
    with Wave() as wave:
        wave.ask(tapes[:1])
        wave.take_in(until=lambda: tapes[0].n_events >= 2)
        assert not tapes[0].is_over
    assert tapes[0].is_over
    assert openai_server.client_left.wait(10)


def test_a_silent_server_is_given_up(openai_server, tapes):
    openai_server.hesitates_after("Once")
    with Wave(silence_s=0.2) as wave:
        wave.ask(tapes)
        wave.take_in()
    for tape in tapes:
        with pytest.raises(StreamCutError, match="it does not answer"):
            tape.play().wait()


def test_nobody_there_is_over_at_once():
    tape = Client("http://127.0.0.1:9").tape_chat([], model="tiny")
    with Wave() as wave:
        wave.ask([tape])
        wave.take_in()
    assert tape.is_over


def test_garbage_is_collected_again_whatever_happened():
    with pytest.raises(KeyboardInterrupt), Wave():
        assert not gc.isenabled()
        raise KeyboardInterrupt
    assert gc.isenabled()
