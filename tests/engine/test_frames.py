import io
import socket
import threading

import pytest

from mlm.engine.frames import MAX_FRAME_BYTES, FrameDecoder, FrameError, FrameWriter, encode_frame
from mlm.engine.messages import Alive, FromWorker, Step, TokenOut

MESSAGES = [Alive(1, 2), Step([TokenOut(7, "né", 2)]), Alive(0, 0)]
WIRE = b"".join(encode_frame(message) for message in MESSAGES)


def read_blocking(wire: bytes) -> list[FromWorker]:
    decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
    file = io.BytesIO(wire)
    return list(iter(lambda: decoder.read(file), None))


def feed(wire: bytes, size: int = 3) -> list[FromWorker]:
    decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    messages = [message for piece in pieces for message in decoder.feed(piece)]
    decoder.close()
    return messages


def feed_at_once(wire: bytes) -> list[FromWorker]:
    return feed(wire, size=1_000_000)


ALL = pytest.mark.parametrize("read", [read_blocking, feed, feed_at_once])


@ALL
def test_messages_arrive_as_they_were_sent(read):
    assert read(WIRE) == MESSAGES
    assert read(b"") == []


@ALL
@pytest.mark.parametrize("cut", [1, 3, 4, 5])
def test_a_stream_that_ends_inside_a_frame_is_an_error(read, cut: int):
    with pytest.raises(FrameError, match="inside a frame"):
        read(WIRE[:cut])


@ALL
def test_a_length_beyond_reason_is_refused_before_it_is_read(read):
    with pytest.raises(FrameError, match="over the limit"):
        read((MAX_FRAME_BYTES + 1).to_bytes(4, "little") + b"x")


@ALL
@pytest.mark.parametrize("body", [b"\xc1", b"\x81\xa4type\xa5Other", b"\x01"])
def test_a_frame_that_is_no_message_is_an_error(read, body: bytes):
    with pytest.raises(FrameError, match="cannot be read"):
        read(len(body).to_bytes(4, "little") + body)


def test_frames_of_several_threads_never_mix():
    ours, theirs = socket.socketpair()
    writer = FrameWriter(theirs)
    text = "x" * 50_000

    def write(number: int) -> None:
        for _ in range(20):
            writer.send(Step([TokenOut(number, text)]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
    with ours, theirs, ours.makefile("rb") as file:
        received = [decoder.read(file) for _ in range(80)]
        for thread in threads:
            thread.join()
    assert all(isinstance(m, Step) and m.tokens[0].text == text for m in received)
