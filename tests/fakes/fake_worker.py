"""A worker without llama.cpp: it speaks the worker protocol, at the pace and with the faults asked.

Its "model file" is a JSON object (see `Model`). The prompt, or the last message, may hold wishes
as ``name=value`` words (see `Wish`); everything else in it is ignored. To pictures it answers with
the first bytes of their digests.
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import socket
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from mlm.engine.frames import FrameDecoder, encode_frame
from mlm.engine.messages import (
    Accepted,
    Alive,
    AnswerForm,
    Buffer,
    BufferKind,
    Cancel,
    ChosenToken,
    Failed,
    Finished,
    Generate,
    Load,
    LoadFailed,
    Loading,
    Ready,
    Shutdown,
    Step,
    TokenOut,
    TokenProb,
    ToWorker,
)
from mlm.engine.meter import Meter


@dataclass(frozen=True)
class Model:
    """How the fake loads."""

    load_s: float = 0.0
    load_error: str = ""  # LoadFailed with this message
    dies_loading: bool = False
    uses_date: bool = False
    diary: str = ""  # file to which a line is appended for each load and each request
    buffers: tuple[tuple[str, BufferKind, int], ...] = (
        ("CPU_Mapped", "weights", 1000),
        ("CPU", "kv_cache", 100),
        ("CPU", "compute", 10),
    )

    def taken(self) -> list[Buffer]:
        """Return the memory that it says it took."""
        return [Buffer(*buffer) for buffer in self.buffers]


@dataclass(frozen=True)
class Wish:
    """How the fake answers one request."""

    n: int = 5  # tokens: "t0 t1 t2 …"
    pace: float = 0.0  # seconds per step, which has a token for each answer of this pace
    prefill: float = 0.0  # seconds before the first token
    think: float = 0.0  # seconds before the request is accepted
    cached: int = 0
    text: str = ""  # this (percent-encoded) instead of counted tokens, a character per token
    calls: str = ""  # the style of calls that the text may hold
    thoughts: bool = False  # whether <think> stands around thoughts
    seeded: bool = False  # the answer is the seed, in as many tokens as the seed's last digit
    fail_at_seed: int = -1  # fail, but only with this seed …
    hush_at_seed: int = -1  # … or stop sending
    fail: str = ""  # Failed with this code
    die: str = ""  # name of the signal to die by, or "exit" …
    at: int = -1  # … at this token; -1 = before the request is accepted
    hush: bool = False  # stop sending, stay alive


class FakeWorker:
    """Serves one model over one socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._step: list[TokenOut] = []  # of all answers, not sent yet
        self._model = Model()
        self._meter = Meter()

    async def run(self) -> None:
        """Serve until told to stop, or until the gateway is gone."""
        decoder: FrameDecoder[Any] = FrameDecoder(ToWorker)
        while data := await self._reader.read(65_536):
            for message in decoder.feed(data):
                if isinstance(message, Shutdown):
                    return
                await self._take(message)

    async def _take(self, message: Any) -> None:
        match message:
            case Load():
                await self._load(message)
            case Generate():
                task = asyncio.create_task(self._answer(message))
                self._requests[message.request_id] = task
            case Cancel():
                if task := self._requests.get(message.request_id):
                    task.cancel()

    def send(self, message: msgspec.Struct) -> None:
        """Send one message, after the tokens that came before it."""
        self._send_step()
        self._writer.write(encode_frame(message))

    def put(self, token: TokenOut) -> None:
        """Send a token together with those that other answers get at the same time."""
        if not self._step:
            asyncio.get_running_loop().call_soon(self._send_step)
        self._step.append(token)

    def _send_step(self) -> None:
        if self._step:
            step, self._step = Step(tokens=self._step), []
            self._writer.write(encode_frame(step))

    async def _load(self, load: Load) -> None:
        self._model = Model(**json.loads(Path(load.path).read_text(encoding="utf-8")))
        self._note(f"load with {Path(load.mmproj).name}" if load.mmproj else "load")
        if self._model.dies_loading:
            os.kill(os.getpid(), signal.SIGSEGV)
        for progress in (0.25, 0.5, 0.75):
            self.send(Loading(progress=progress))
            await asyncio.sleep(self._model.load_s / 4)
        await asyncio.sleep(self._model.load_s / 4)
        if self._model.load_error:
            self.send(LoadFailed(message=self._model.load_error))
            await self._writer.drain()
            raise SystemExit(1)
        config = load.config
        self._slots = asyncio.Semaphore(config.n_parallel)
        self.send(
            Ready(
                n_ctx=config.n_ctx,
                n_ctx_slot=config.n_ctx // config.n_parallel,
                n_parallel=config.n_parallel,
                n_ctx_train=4096,
                n_params=1000,
                load_s=self._model.load_s,
                buffers=self._model.taken(),
                has_chat_template=True,
                template_uses_date=self._model.uses_date,
                template_sha256="ab" * 32,
                engine="fake",
            )
        )
        self._pulse = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            self.send(Alive(len(self._requests), n_waiting=0, work=self._meter.read()))
            await asyncio.sleep(1)

    async def _answer(self, request: Generate) -> None:
        wish = read_wish(request)
        sent = 0
        self._note(f"request {request.tenant}")
        try:
            if wish.die and wish.at < 0:
                _die(wish.die)
            await asyncio.sleep(wish.think)
            if wish.fail or request.sampling.seed == wish.fail_at_seed:
                code = wish.fail or "engine_error"
                message = "the fake was asked to fail"
                self.send(Failed(request.request_id, code, message, needed=99, available=9))
                return
            tags = {"think_open": "<think>", "think_close": "</think>"} if wish.thoughts else {}
            form = AnswerForm(calls=wish.calls, **tags)
            self.send(Accepted(request_id=request.request_id, prompt_tokens=7, form=form))
            async with self._slots:
                await asyncio.sleep(wish.prefill)
                n_chars = 0
                for sent, text in enumerate(pieces_of(wish, request)):
                    if wish.die and sent == wish.at:
                        self._send_step()
                        await self._writer.drain()
                        _die(wish.die)
                    if wish.hush or request.sampling.seed == wish.hush_at_seed:
                        await asyncio.sleep(3600)
                    told = logprobs_of(request, text, n_chars)
                    n_chars += len(text)
                    self.put(TokenOut(request_id=request.request_id, text=text, logprobs=told))
                    self._meter.note_step(wish.pace, prefill=0, decode=1, sequences=1)
                    await asyncio.sleep(_until_step(wish.pace))
            cut = request.max_tokens is not None and sent + 1 == request.max_tokens
            self._finish(request, wish, "length" if cut else "stop", sent + 1)
        except asyncio.CancelledError:
            self._note("cancelled")
            self._finish(request, wish, "cancelled", sent)
        finally:
            self._requests.pop(request.request_id, None)

    def _finish(self, request: Generate, wish: Wish, reason: Any, n_tokens: int) -> None:
        self.send(
            Finished(
                request_id=request.request_id,
                reason=reason,
                prompt_tokens=7,
                cached_tokens=wish.cached,
                completion_tokens=n_tokens,
                queue_s=0.0,
                prefill_s=wish.prefill,
                decode_s=wish.pace * n_tokens,
            )
        )

    def _note(self, line: str) -> None:
        if self._model.diary:
            with Path(self._model.diary).open("a", encoding="utf-8") as diary:
                diary.write(f"{line}\n")


def read_wish(request: Generate) -> Wish:
    """Return what the prompt asks of the fake."""
    text = request.prompt or str((request.messages or [{}])[-1].get("content", ""))
    kinds = {field.name: type(field.default) for field in fields(Wish)}
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    return Wish(**{name: kinds[name](value) for name, value in words.items() if name in kinds})


def _until_step(pace: float) -> float:
    """Return the seconds until the next step: half a pace to one and a half, then a pace."""
    now = asyncio.get_running_loop().time()
    return (round(now / pace) + 1) * pace - now if pace else 0.0


def _die(how: str) -> None:
    if how == "exit":
        os._exit(0)
    os.kill(os.getpid(), getattr(signal, how))


def pieces_of(wish: Wish, request: Generate) -> list[str]:
    """Return the tokens of the answer."""
    tokens = list(unquote(wish.text)) or [f"t{i} " for i in range(wish.n)]
    if pictures := pictures_of(request):
        tokens = [f"{hashlib.sha256(picture).hexdigest()[:8]} " for picture in pictures]
    seed = request.sampling.seed
    if wish.seeded:
        tokens = [f"{seed} "] * (int(str(seed)[-1]) if seed is not None else 1)
    return tokens[: request.max_tokens] if request.max_tokens else tokens


def pictures_of(request: Generate) -> list[bytes]:
    """Return what is shown in all messages."""
    contents = [message["content"] for message in request.messages or []]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part["data"] for part in parts if part["type"] == "image"]


def logprobs_of(request: Generate, text: str, start: int) -> list[ChosenToken]:
    """Return what is told of a token; the likeliest ones are the chosen one and its capitals."""
    if request.logprobs is None:
        return []
    chosen = TokenProb(ord(text[0]), text.encode(), -0.25)
    others = [chosen, TokenProb(1, text.upper().encode(), -2.5), TokenProb(2, b"\xf0\x9f", -9.0)]
    return [ChosenToken(chosen, others[: request.logprobs], start, start + len(text))]


async def main() -> None:
    """Serve the gateway at the other end of ``--fd``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    connection = socket.socket(fileno=parser.parse_args().fd)
    reader, writer = await asyncio.open_connection(sock=connection)
    await FakeWorker(reader, writer).run()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main())
