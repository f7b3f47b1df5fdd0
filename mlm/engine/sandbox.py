"""A process that does what strangers' bytes ask for: render templates, compile grammars, read
pictures.

Inside one process nothing reliable stops ``'a' * 10**10``, a loop over a huge range, or C code
that recurses: a thread cannot be killed, and a trace function does not see one long operation.
A process can be: before each task it sets a timer whose signal ends it, and a limit on its
memory. The worker sees its pipe close, fails that one request, and starts another process when
it needs one. Running streams do not notice.
"""

import signal
import subprocess
import sys
from typing import Any, BinaryIO, cast

from mlm.engine.constraint import Constraint, ConstraintError, build_constraint
from mlm.engine.frames import FrameDecoder, FrameError, encode_frame
from mlm.engine.messages import AnswerForm, JsonFormat, Message, ToolChoice
from mlm.engine.picture import Picture, PictureError, read_picture
from mlm.engine.template import ChatTemplate, TemplateError, TemplateRefusal

TIME_LIMIT_S = 2.0
MEMORY_LIMIT_BYTES = 512 * 1024**2
_COMMAND = (sys.executable, "-m", "mlm.engine.sandbox")


class Prepare(Message, frozen=True):
    """The chat template and the time limit for all tasks that follow. Has no answer."""

    template: str
    bos_text: str
    eos_text: str
    time_limit_s: float


class Render(Message, frozen=True):
    """Render the template for these messages."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    arguments: dict[str, Any]


class CheckGrammar(Message, frozen=True):
    """Compile a GBNF grammar, to see whether that is harmless."""

    grammar: str


class Constrain(Message, frozen=True):
    """Make the grammar that an answer is held to; see `mlm.engine.constraint`."""

    form: AnswerForm
    tools: list[dict[str, Any]]
    choice: ToolChoice
    json_format: JsonFormat | None
    has_call_ids: bool


class ReadPicture(Message, frozen=True):
    """Read the file of a picture."""

    data: bytes


class Done(Message, frozen=True):
    """The task succeeded; a rendering has text."""

    text: str = ""
    constraint: Constraint | None = None
    picture: Picture | None = None


class Refused(Message, frozen=True):
    """The task failed, as tasks may."""

    code: str
    reason: str
    param: str | None = None


Task = Render | CheckGrammar | Constrain | ReadPicture


class SandboxError(Exception):
    """A task failed or ended the process.

    ``code`` and ``param`` are for `mlm.engine.messages.Failed`.
    """

    def __init__(self, code: str, reason: str, param: str | None = None) -> None:
        super().__init__(reason)
        self.code, self.param = code, param


class Sandbox:
    """The worker's handle on the process. For one thread."""

    def __init__(
        self,
        template: str,
        *,
        bos_text: str = "",
        eos_text: str = "",
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self._preparation = Prepare(template, bos_text, eos_text, time_limit_s)
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder: FrameDecoder[Done | Refused] = FrameDecoder(Done | Refused)

    def start(self) -> None:
        """Start the process if there is none, so that the next task need not wait for it."""
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(_COMMAND, stdin=pipe, stdout=pipe)
            self._send(self._preparation)

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        arguments: dict[str, Any],
    ) -> str:
        """Return the prompt for ``messages``.

        Raises:
            SandboxError: the template fails, refuses, or takes too much time or memory.
        """
        task = Render(messages, tools, arguments)
        return self._run(task, "template_error", "the model's chat template").text

    def check_grammar(self, grammar: str) -> None:
        """Return if llama.cpp can compile ``grammar`` within the limits.

        Raises:
            SandboxError: it cannot.
        """
        self._run(CheckGrammar(grammar), "invalid_request_error", "the grammar", "grammar")

    def constrain(self, task: Constrain) -> Constraint | None:
        """Return what the answer is held to, if llama.cpp can compile that within the limits.

        Raises:
            SandboxError: it cannot, or there is no such grammar.
        """
        param = "tools" if task.json_format is None else task.json_format.field
        subject = f"the grammar for '{param}'"
        return self._run(task, "invalid_request_error", subject, param).constraint

    def read_picture(self, data: bytes) -> Picture:
        """Return the picture in a file.

        Raises:
            SandboxError: there is none, or reading it takes too much.
        """
        done = self._run(ReadPicture(data), "invalid_request_error", "the picture", "messages")
        assert done.picture is not None
        return done.picture

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _run(self, task: Task, code: str, subject: str, param: str | None = None) -> Done:
        self.start()
        self._send(task)
        assert self._process is not None
        try:
            answer = self._decoder.read(cast(BinaryIO, self._process.stdout))
        except FrameError:
            answer = None
        if answer is None:
            excess = self._find_excess()
            raise SandboxError(code, f"{subject} takes more {excess} than is allowed", param)
        if isinstance(answer, Refused):
            raise SandboxError(answer.code, answer.reason, answer.param or param)
        return answer

    def _send(self, task: Prepare | Task) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(encode_frame(task))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process is gone, which reading its answer will show

    def _find_excess(self) -> str:
        """Return what the process died of, and clear it away."""
        assert self._process is not None
        returncode = self._process.wait()
        self.stop()
        if returncode == -signal.SIGALRM:
            return f"time ({self._preparation.time_limit_s:g} s)"
        return "memory or depth"


def main() -> None:
    """Answer tasks from stdin on stdout until stdin ends."""
    _limit_resources()
    tasks: FrameDecoder[Prepare | Task] = FrameDecoder(Prepare | Task)
    desk = _Desk()
    while (task := tasks.read(sys.stdin.buffer)) is not None:
        if isinstance(task, Prepare):
            desk = _Desk(task)
            continue
        sys.stdout.buffer.write(encode_frame(desk.answer(task)))
        sys.stdout.buffer.flush()


class _Desk:
    """Does tasks in the sandbox process, each within the time limit."""

    def __init__(self, preparation: Prepare | None = None) -> None:
        self._preparation = preparation or Prepare("", "", "", TIME_LIMIT_S)
        self._compiled: ChatTemplate | None = None

    def answer(self, task: Task) -> Done | Refused:
        """Return what became of a task; when it takes too long, this process ends instead."""
        _import_for(task)
        signal.setitimer(signal.ITIMER_REAL, self._preparation.time_limit_s)
        try:
            return self._do(task)
        except ConstraintError as error:
            return Refused("invalid_request_error", str(error), error.field)
        except TemplateRefusal as refusal:
            return Refused("invalid_request_error", str(refusal))
        except TemplateError as error:
            return Refused("template_error", str(error))
        except PictureError as error:
            return Refused("invalid_request_error", f"a picture cannot be taken: {error}")
        except ValueError as error:
            return Refused("invalid_request_error", str(error))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _do(self, task: Task) -> Done:
        if isinstance(task, CheckGrammar):
            _compile(task.grammar)
            return Done()
        if isinstance(task, Constrain):
            return Done(constraint=_constrain(task))
        if isinstance(task, ReadPicture):
            return Done(picture=read_picture(task.data))
        return Done(self._render(task))

    def _render(self, task: Render) -> str:
        if self._compiled is None:
            self._compiled = ChatTemplate(
                self._preparation.template,
                bos_text=self._preparation.bos_text,
                eos_text=self._preparation.eos_text,
            )
        return self._compiled.render(task.messages, tools=task.tools, arguments=task.arguments)


def _import_for(task: Task) -> None:
    """Import what a task needs before its timer runs: slow, so only when it is needed."""
    if isinstance(task, ReadPicture):
        import PIL.Image  # noqa: F401
    elif not isinstance(task, Render):
        import mlm.engine.llama.samplers  # noqa: F401


def _constrain(task: Constrain) -> Constraint | None:
    constraint = build_constraint(
        task.form, task.tools, task.choice, task.json_format, has_call_ids=task.has_call_ids
    )
    if constraint is not None:
        _compile(constraint.grammar)
    return constraint


def _compile(grammar: str) -> None:
    """Raise ValueError if llama.cpp does not take ``grammar``."""
    from mlm.engine.llama.samplers import Grammar

    Grammar(None, grammar).close()


def _limit_resources() -> None:
    import resource  # not on every system

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


if __name__ == "__main__":
    main()
