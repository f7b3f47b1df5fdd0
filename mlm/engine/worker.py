"""The worker process: ``python -m mlm.engine.worker --fd N``, started by `mlm.engine.process`.

Threads: the main one owns the context and decodes; one reads the socket; one prepares requests
(`mlm.engine.reception`); one sends the heartbeat, one what the main thread has to tell. The end of
the socket is the end of the process.
"""

import argparse
import hashlib
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlm.engine.embedder import Embedder
from mlm.engine.embedding_desk import EmbeddingDesk
from mlm.engine.encoder import Encoder
from mlm.engine.frames import FrameDecoder, FrameError, FrameWriter
from mlm.engine.hygiene import settle_in
from mlm.engine.intake import Intake
from mlm.engine.llama.context import Context
from mlm.engine.llama.embedding import EmbeddingContext
from mlm.engine.llama.library import ENGINE
from mlm.engine.llama.log import LoadError, LoadLog
from mlm.engine.llama.model import Model
from mlm.engine.llama.threads import pin_threads
from mlm.engine.messages import (
    Alive,
    Cancel,
    Embed,
    Failed,
    Generate,
    Load,
    LoadFailed,
    Loading,
    Message,
    Ready,
    Shutdown,
    Tokenize,
    ToWorker,
)
from mlm.engine.outbox import Outbox
from mlm.engine.reception import Reception
from mlm.engine.scheduler import Scheduler
from mlm.engine.spawn import ENDLESS_CHOICE
from mlm.engine.template import uses_date
from mlm.errors import MlmError
from mlm.gguf.reader import read_metadata

if TYPE_CHECKING:
    from mlm.engine.llama.vision import Eyes

HEARTBEAT_S = 1.0
# Choosing a token takes milliseconds. A grammar that llama.cpp gets lost in blocks everybody, and
# only the end of the process ends it.
CHOICE_LIMIT_S = 5.0
_PROGRESS_STEP = 0.01  # of the whole; a load has at most a hundred frames


def main() -> None:
    """Serve the gateway at the other end of a socket until it goes away."""
    parser = argparse.ArgumentParser(prog="mlm.engine.worker")
    parser.add_argument("--fd", type=int, required=True, help="the socket to the gateway")
    connection = socket.socket(fileno=parser.parse_args().fd)
    settle_in()
    sys.exit(_Worker(connection).run())


class _Worker:
    """What the threads of a worker share."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self._writer = FrameWriter(connection)
        self._decoder: FrameDecoder[ToWorker] = FrameDecoder(ToWorker)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()  # what the desk hands on
        self._reception: Reception | EmbeddingDesk | None = None
        self._scheduler: Scheduler | Embedder | None = None

    def run(self) -> int:
        """Load the model and serve; return the exit code when loading fails."""
        load = self._decoder.read(self._file)
        if not isinstance(load, Load):
            return 0
        for work in (self._beat, self._read):
            threading.Thread(target=work, daemon=True).start()
        try:
            self._load(load)
        except (LoadError, OSError) as error:
            name = Path(load.path).name
            self._send(LoadFailed(f"{name} cannot be loaded: {error}", "mlm doctor"))
            return 1
        except MlmError as error:
            message = error.message.replace(load.path, Path(load.path).name)  # clients see it
            self._send(LoadFailed(message, error.remedy))
            return 1
        return self._serve()

    def _load(self, load: Load) -> None:
        """Load the model, announce it, and open for requests."""
        started = time.monotonic()
        # llama.cpp aborts on many a broken file; this does not.
        metadata = read_metadata(Path(load.path))
        if not metadata.has_vocabulary:
            raise MlmError(
                f"{load.path} has no vocabulary: no text can become tokens, and tokens no text",
                remedy="take another file of this model, or convert it again with its tokenizer",
            )
        log = LoadLog()
        model = Model(load.path, load.config, _Progress(self._send), log)
        context: Context | EmbeddingContext
        if load.config.embedding:
            context = EmbeddingContext(model, load.config, log, metadata)
            self._scheduler = Embedder(context, self._send)
            self._reception = EmbeddingDesk(model, context, self._send, self._inbox.put)
        else:
            eyes, why_blind = _open_eyes(load, model, log)
            context = Context(model, load.config, log, eyes)
            self._scheduler = Scheduler(
                context,
                model.vocabulary,
                Outbox(self._send).put,
                prefix_cache=load.config.prefix_cache,
                encode=Encoder(eyes, self._inbox.put).submit if eyes is not None else None,
            )
            self._reception = Reception(model, context, self._send, self._inbox.put, why_blind)
        pin_threads(context.handle, load.config)
        self._reception.start()
        template = model.chat_template or ""
        self._send(
            Ready(
                n_ctx=context.n_ctx,
                n_ctx_slot=context.n_ctx_slot,
                n_parallel=load.config.n_parallel,
                n_ctx_train=model.n_ctx_train,
                n_params=model.n_params,
                load_s=time.monotonic() - started,
                buffers=log.buffers,
                has_chat_template=model.chat_template is not None,
                template_uses_date=uses_date(template),
                template_sha256=hashlib.sha256(template.encode()).hexdigest(),
                engine=ENGINE,
            )
        )

    def _serve(self) -> int:
        """Decode, forever. New requests and cancels are taken between two steps."""
        scheduler, reception = self._scheduler, self._reception
        assert scheduler is not None and reception is not None
        intake = Intake(self._inbox, scheduler, reception)
        while True:
            scheduler.meter.rest()
            intake.take_in()
            scheduler.meter.wake()
            scheduler.step()

    def _read(self) -> None:
        """Take frames from the socket; its end, or `Shutdown`, ends the process at once."""
        code = 1
        try:
            while (message := self._decoder.read(self._file)) is not None:
                if isinstance(message, Shutdown):
                    break
                assert self._reception is not None, "a request before Ready"
                if isinstance(message, Generate | Embed | Tokenize):
                    self._reception.receive(message)
                elif isinstance(message, Cancel):
                    self._reception.cancel(message)
            code = 0
        except FrameError as error:
            sys.stderr.write(f"the gateway sends nonsense: {error}\n")
        finally:
            os._exit(code)  # no clean-up: llama.cpp may be in the middle of a step

    def _beat(self) -> None:
        while True:
            self._send(self._describe_work())
            if self._scheduler and self._scheduler.choosing:
                self._end_endless_choice(*self._scheduler.choosing)
            time.sleep(HEARTBEAT_S)

    def _describe_work(self) -> Alive:
        scheduler, reception = self._scheduler, self._reception
        if scheduler is None or reception is None:
            return Alive(n_active=0, n_waiting=0)
        n_waiting = scheduler.n_waiting + self._inbox.qsize() + reception.n_waiting
        return Alive(scheduler.n_active, n_waiting, scheduler.meter.read())

    def _end_endless_choice(self, request_id: int, started: float) -> None:
        """Blame the request that keeps all others waiting, so that nobody repeats it, and exit."""
        if time.monotonic() - started > CHOICE_LIMIT_S:
            reason = f"the grammar takes over {CHOICE_LIMIT_S:.0f} s for one token"
            self._send(Failed(request_id, "invalid_request_error", reason))
            os._exit(ENDLESS_CHOICE)

    def _send(self, message: Message) -> None:
        try:
            self._writer.send(message)
        except OSError:
            os._exit(0)  # the gateway is gone


def _open_eyes(load: Load, model: Model, log: LoadLog) -> "tuple[Eyes | None, str]":
    """Return what the model sees with; if nothing, why it takes no pictures."""
    if load.mmproj is None:
        return None, "this model takes no pictures"
    name = Path(load.mmproj).name
    try:
        from mlm.engine.llama.vision import Eyes  # only here: another library of some megabytes

        eyes = Eyes(load.mmproj, model, load.config, log)
    except (ImportError, OSError, RuntimeError) as error:  # texts need no such library
        sys.stderr.write(f"no pictures: {error}\n")
        return None, "this build of llama.cpp takes no pictures: mlm engine install"
    except (LoadError, MlmError) as error:
        reason = str(error).replace(load.mmproj, name).removeprefix(f"{name}: ")  # clients see it
        model_name = Path(load.path).name
        raise MlmError(
            f"{model_name} cannot be loaded: its projector {name}: {reason}",
            remedy="get that file again, or do without: 'vision: false' in its config",
        ) from None
    return (eyes, "") if eyes.sees else (None, "this model hears, but takes no pictures")


class _Progress:
    """Sends `Loading` when another percent is done."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._sent = 0.0

    def __call__(self, fraction: float) -> None:
        if fraction >= min(1.0, self._sent + _PROGRESS_STEP) and fraction > self._sent:
            self._sent = fraction
            self._send(Loading(fraction))


if __name__ == "__main__":
    main()
