"""Where text is asked for: turns a `Generate` into a `Request` that is known to fit, or refuses."""

from collections.abc import Callable

from mlm.engine.constraint import Constraint, after_thoughts
from mlm.engine.desk import NO_TOKEN, Desk, Dicts, Refusal
from mlm.engine.dialect import CALL_ID_MARK, markers_of, read_dialect
from mlm.engine.image import Image
from mlm.engine.llama.context import Context
from mlm.engine.llama.model import Model
from mlm.engine.logprobs import Logprobs
from mlm.engine.marks import Marks
from mlm.engine.messages import (
    Accepted,
    AnswerForm,
    Cancel,
    Generate,
    Message,
    Step,
    TokenOut,
)
from mlm.engine.request import AnswerText, Request
from mlm.engine.sampler import Sampler
from mlm.engine.sandbox import Constrain, Sandbox, SandboxError
from mlm.engine.template import CHATML, CHATML_TOKENS, TRANSCRIPT, TRANSCRIPT_STOPS
from mlm.engine.tools import has_tools, say_tools

Images = dict[int, Image]  # by how many tokens are before each

MAX_GRAMMAR_CHARS = 256 * 1024  # of one that a client wrote
MAX_CONSTRAINT_CHARS = 2 * 1024**2  # of one made of schemas


class Reception(Desk[Generate, Request]):
    """The desk of a model that writes text."""

    takes = Generate
    misplaced = "this model writes text, it makes no vectors"

    def __init__(
        self,
        model: Model,
        context: Context,
        send: Callable[[Message], None],
        hand_on: Callable[[Request | Cancel], None],
        why_blind: str,
    ) -> None:
        super().__init__(model.vocabulary, send, hand_on)
        self._n_ctx_slot = context.n_ctx_slot
        self._max_prompt_bytes = context.n_ctx_slot * model.vocabulary.longest_piece_bytes()
        self._is_unified = context.memory.is_unified
        self._eyes, self._why_blind = context.eyes, why_blind
        self._n_ubatch = context.n_ubatch
        source, self._template_stops = choose_template(model)
        self._dialect = read_dialect(source)
        self._has_call_ids = CALL_ID_MARK in source
        self._sandbox = Sandbox(
            source, bos_text=self._vocabulary.bos_text, eos_text=self._vocabulary.eos_text
        )

    def start(self) -> None:
        """Begin to work, with the sandbox's process begun: the first request finds it ready."""
        self._sandbox.start()
        super().start()

    def _announce(self, request: Request, generate: Generate) -> None:
        self._send(Accepted(request.request_id, request.prompt_tokens, request.form))
        if generate.echo:
            prompt = generate.prompt
            text = self._spell(request.tokens) if prompt is None else prompt
            self._send(Step([TokenOut(request.request_id, text, 0)]))

    def _prepare(self, generate: Generate, received_s: float) -> Request:
        if generate.deterministic and self._is_unified:
            reason = "with kv_unified, where an answer lies in the cache depends on the others"
            raise Refusal("invalid_request_error", reason, param="deterministic")
        tokens, images, stops, form = self._read_prompt(generate)
        room = self._n_ctx_slot - len(tokens)
        said = [token for token in tokens if token >= 0] if images else tokens
        sampler, logprobs = self._make_sampler(generate, said, form), None
        if generate.logprobs is not None:
            logprobs = sampler.logprobs = Logprobs(generate.logprobs, self._vocabulary.spelling)
        return Request(
            request_id=generate.request_id,
            tokens=tokens,
            max_new_tokens=room if generate.max_tokens is None else min(generate.max_tokens, room),
            sampler=sampler,
            images=images,
            text=AnswerText([*generate.stop, *stops], logprobs),
            form=form,
            markers=self._vocabulary.markers(markers_of(form)),
            tenant=generate.tenant,
            reuses_prefix=generate.cache_prompt and not generate.deterministic,
            is_deterministic=generate.deterministic,
            received_s=received_s,
        )

    def _read_prompt(
        self, generate: Generate
    ) -> tuple[list[int], Images, tuple[str, ...], AnswerForm]:
        """Return the tokens to continue, the images among them, the stop strings of their form,
        and the answer's form."""
        given = (generate.messages, generate.prompt, generate.prompt_tokens)
        if sum(prompt is not None for prompt in given) != 1:
            raise Refusal("invalid_request_error", "give messages, a prompt, or its tokens")
        if generate.prompt_tokens is not None:
            tokens = self._check_tokens(generate.prompt_tokens, "prompt")
            return self._fit(tokens, "prompt"), {}, (), AnswerForm()
        if generate.prompt is not None:
            return self._tokenize(generate.prompt, "prompt"), {}, (), AnswerForm()
        assert generate.messages is not None
        marks = Marks()
        messages = marks.put(generate.messages)
        text = self._render(messages, generate.tools, generate.template_args)
        form = self._dialect.form_of(text, with_tools=bool(generate.tools))
        if marks.files:
            tokens, images = self._illustrate(text, marks)
            return self._fit(tokens, "messages"), images, self._template_stops, form
        return self._tokenize(text, "messages"), {}, self._template_stops, form

    def _chat_tokens(
        self, messages: Dicts, tools: Dicts | None, template_args: dict[str, object]
    ) -> list[int]:
        marks = Marks()
        text = self._render(marks.put(messages), tools, template_args)
        if marks.files:
            tokens, _ = self._illustrate(text, marks)
            return [max(token, NO_TOKEN) for token in tokens]
        return self._vocabulary.tokenize(text)

    def _illustrate(self, text: str, marks: Marks) -> tuple[list[int], Images]:
        """Return the tokens of a chat with pictures, and the images among them.

        Raises:
            Refusal: a picture, or all of them together, cannot be taken.
        """
        if self._eyes is None:
            raise Refusal("invalid_request_error", self._why_blind, param="messages")
        self._check_length(text, "messages")
        try:
            pieces = marks.split(text)
            pictures = [self._sandbox.read_picture(data) for data in marks.files]
            read = self._eyes.read([pictures[p] if isinstance(p, int) else p for p in pieces])
        except SandboxError as error:
            raise Refusal(error.code, str(error), param=error.param) from None
        except ValueError as error:
            raise Refusal("invalid_request_error", str(error), param="messages") from None
        tokens: list[int] = []
        images: Images = {}
        for piece in read:
            if isinstance(piece, Image):
                self._check_image(piece)
                images[len(tokens)] = piece
            tokens += piece.tokens if isinstance(piece, Image) else piece
        if images and tokens[-1] < 0:  # what follows the last token is read off that token
            reason = "the model's chat template ends in a picture"
            raise Refusal("template_error", reason, param="messages")
        return tokens, images

    def _check_image(self, image: Image) -> None:
        if not image.is_causal and image.n_tokens > self._n_ubatch:
            reason = (
                f"this model reads the {image.n_tokens} tokens of a picture in one go, and "
                f"n_ubatch in its config is {self._n_ubatch}"
            )
            raise Refusal("invalid_request_error", reason, param="messages")

    def _render(
        self, messages: Dicts, tools: Dicts | None, template_args: dict[str, object]
    ) -> str:
        if tools or has_tools(messages):
            messages, tools = say_tools(messages, tools or [], self._dialect)
        try:
            text = self._sandbox.render(messages, tools, template_args)
        except SandboxError as error:
            raise Refusal(error.code, str(error)) from None
        if self._vocabulary.adds_bos and self._vocabulary.bos_text:
            text = text.removeprefix(self._vocabulary.bos_text)  # tokenising adds it
        return text

    def _tokenize(self, text: str, field: str) -> list[int]:
        self._check_length(text, field)
        return self._fit(self._vocabulary.tokenize(text), field)

    def _check_length(self, text: str, field: str) -> None:
        n_bytes = len(text.encode())
        if n_bytes > self._max_prompt_bytes:  # so long that counting its tokens is a waste
            self._refuse_length(n_bytes * self._n_ctx_slot // self._max_prompt_bytes, field)

    def _fit(self, tokens: list[int], field: str) -> list[int]:
        if not tokens:
            raise Refusal("invalid_request_error", "the prompt is empty", param=field)
        if len(tokens) >= self._n_ctx_slot:
            self._refuse_length(len(tokens), field)
        return tokens

    def _spell(self, tokens: list[int]) -> str:
        return b"".join(map(self._vocabulary.spelling, tokens)).decode("utf-8", "replace")

    def _refuse_length(self, n_tokens: int, field: str) -> None:
        raise Refusal(
            "context_length_exceeded",
            # In llama-server's words, by which clients such as litellm know what it is about.
            f"the prompt has {n_tokens} tokens or more, which exceeds the available context size "
            f"of {self._n_ctx_slot} tokens for prompt and answer together",
            needed=n_tokens + 1,
            available=self._n_ctx_slot,
            param=field,
        )

    def _make_sampler(self, generate: Generate, tokens: list[int], form: AnswerForm) -> Sampler:
        try:
            constraint = self._constrain(generate, form)
            sampler = Sampler(self._vocabulary, generate.sampling, tokens, self._n_ctx_slot)
        except SandboxError as error:
            raise Refusal(error.code, str(error), param=error.param) from None
        except ValueError as error:
            raise Refusal("invalid_request_error", str(error)) from None
        if constraint is not None:
            try:
                sampler.hold_to(constraint, form)
            except ValueError as error:
                sampler.close()
                raise Refusal("invalid_request_error", str(error)) from None
        return sampler

    def _constrain(self, generate: Generate, form: AnswerForm) -> Constraint | None:
        """Return what the answer is held to, tried out; None when it is free.

        Raises:
            SandboxError, ValueError: there is no such grammar, or it is too large.
        """
        grammar = generate.sampling.grammar
        if grammar:
            if len(grammar) > MAX_GRAMMAR_CHARS:
                raise ValueError(f"the grammar is longer than {MAX_GRAMMAR_CHARS} characters")
            self._sandbox.check_grammar(grammar)
            return after_thoughts(grammar, form)
        if not form.calls and generate.json_format is None:
            return None
        task = Constrain(
            form,
            (generate.tools or []) if form.calls else [],
            generate.tool_choice,
            generate.json_format,
            self._has_call_ids,
        )
        constraint = self._sandbox.constrain(task)
        if constraint is not None and len(constraint.grammar) > MAX_CONSTRAINT_CHARS:
            raise ValueError("the schemas are too large")
        return constraint


def choose_template(model: Model) -> tuple[str, tuple[str, ...]]:
    """Return the model's chat template and the stop strings that belong to it.

    A model without one gets ChatML if its vocabulary has ChatML's tokens, else a transcript.
    """
    if model.chat_template:
        return model.chat_template, ()
    if all(model.vocabulary.has_token(text) for text in CHATML_TOKENS):
        return CHATML, CHATML_TOKENS[1:]
    return TRANSCRIPT, TRANSCRIPT_STOPS
