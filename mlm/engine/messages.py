"""Everything that crosses the pipe between a gateway and a worker: msgpack of these structs.

The gateway sends `Load` once, then `Generate`, `Embed` or `Tokenize`, `Cancel` and `Shutdown`. The
worker answers `Loading`*, then `Ready` or `LoadFailed`; for each request `Accepted` or `Failed`,
then tokens in `Step` frames or `Vectors`, then `Finished` or `Failed`; for `Tokenize` only `Tokens`
or `Failed`. `Alive` comes every second, whatever else happens. Frames are a 4-byte little-endian
length and that many bytes of msgpack (see `engine/frames.py`).
"""

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length", "cancelled"]
BufferKind = Literal["weights", "repack", "kv_cache", "compute", "output"]


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all messages: immutable, told apart by a tag on the wire."""


class WorkerConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The runtime config in the engine's terms; see `mlm.planning.types.RuntimeConfig`."""

    n_ctx: int
    n_parallel: int
    n_batch: int
    n_ubatch: int
    n_gpu_layers: int
    n_threads: int
    n_threads_batch: int
    n_cpu_moe: int = 0
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    kv_unified: bool = False
    swa_full: bool = False
    use_mmap: bool = True
    use_mlock: bool = False
    embedding: bool = False
    pooling: str = "auto"  # as the file says
    n_outputs_max: int | None = None  # rows of results per call; None = one per slot
    prefix_cache: int = 0  # bytes of main memory


class SamplingParams(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to choose the next token. The defaults are those of llama.cpp's own server.

    They suit small quantized models better than sampling from the whole vocabulary. Values that
    switch a sampler off: ``top_k=0``, ``top_p=1``, ``min_p=0``, ``repeat_penalty=1``,
    ``top_n_sigma=-1``, ``dynatemp_range=0``.
    """

    temperature: float = 0.8  # 0 = greedy
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    seed: int | None = None  # None = different every time
    logit_bias: dict[int, float] = {}
    grammar: str | None = None  # GBNF
    ignore_eos: bool = False
    min_tokens: int = 0
    top_n_sigma: float = -1.0
    dynatemp_range: float = 0.0  # the temperature moves so far up and down with the entropy
    dynatemp_exponent: float = 1.0
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")  # repetition ends at these


class JsonFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer must be JSON that is valid by ``schema``."""

    schema: dict[str, object]
    strict: bool = False  # refuse a schema that no grammar can promise
    field: str = "json_schema"  # where the client wrote the schema, for errors


class ToolChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which of the tools may be called, and whether one must be."""

    required: bool = False
    names: list[str] | None = None  # None = any
    parallel: bool = True  # several calls in one answer


CallStyle = Literal["", "tags", "bare", "list", "named"]  # see `mlm.engine.dialect`


class AnswerForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which markup an answer may hold. The default is none: all of it is meant for the reader."""

    think_open: str = ""  # thoughts stand between these two; "" = they are not marked
    think_close: str = ""
    begins_thinking: bool = False  # the prompt has opened the thoughts already
    calls: CallStyle = ""  # how calls of tools are written; "" = there are none
    channels: bool = False  # messages in a row, each in a channel: the last one is for the reader


class Generate(Message, frozen=True):
    """A request for text. Exactly one of ``messages``, ``prompt``, ``prompt_tokens`` is given.

    ``messages`` are OpenAI's. With pictures, a content is a list of ``{"type": "text", "text": …}``
    and ``{"type": "image", "data": …}``, whose data are the bytes of a file that nobody has read.
    """

    request_id: int
    messages: list[dict[str, object]] | None = None
    prompt: str | None = None  # raw text, no template
    tools: list[dict[str, object]] | None = None  # OpenAI's functions, unchanged
    tool_choice: ToolChoice = ToolChoice()
    json_format: JsonFormat | None = None
    template_args: dict[str, object] = {}
    sampling: SamplingParams = SamplingParams()
    max_tokens: int | None = None  # None = up to the end of the slot
    stop: list[str] = []
    tenant: str = ""
    cache_prompt: bool = True
    deterministic: bool = False  # the same text whatever runs beside it; slower
    echo: bool = False
    prompt_tokens: list[int] | None = None  # as they are, nothing added
    logprobs: int | None = None  # so many of the likeliest tokens for each; None = nothing at all


class Embed(Message, frozen=True):
    """A request for a vector for each of ``inputs``; with a ``query``, for their scores under it.

    An input is text, or tokens as they are, or both in a list.
    """

    request_id: int
    inputs: list[str | list[str | int]]
    query: str | None = None
    dimensions: int | None = None  # only the first so many numbers of each vector
    min_dimensions: int | None = None  # as few as the model was trained for; None = not for fewer


class Tokenize(Message, frozen=True):
    """A question about tokens: of a text, of a chat as the model is shown it, or which they are.

    Exactly one of ``text``, ``messages`` and ``tokens`` is given.
    """

    request_id: int
    text: str | None = None
    messages: list[dict[str, object]] | None = None  # with tools and arguments as in `Generate`
    tools: list[dict[str, object]] | None = None
    template_args: dict[str, object] = {}
    tokens: list[int] | None = None
    add_special: bool = False  # what the model begins and ends a text with
    parse_special: bool = True  # the spelling of a control token is that token
    spell: bool = False  # the answer has the bytes of each token, too


class Cancel(Message, frozen=True):
    """Stop a request between two steps. It still gets its `Finished`."""

    request_id: int


class Load(Message, frozen=True):
    """First frame to a worker: which file, and how."""

    path: str
    config: WorkerConfig
    mmproj: str | None = None  # the file that the model sees with; None = it takes no pictures


class Shutdown(Message, frozen=True):
    """Finish nothing more; exit 0."""


class Loading(Message, frozen=True):
    """How far a load has come, 0 to 1."""

    progress: float


class Buffer(msgspec.Struct, frozen=True):
    """Memory that llama.cpp took when it loaded a model, as it reported it itself."""

    place: str  # its own name for it: CPU_Mapped, CPU_REPACK, CUDA0, CUDA_Host
    kind: BufferKind
    n_bytes: int


class Ready(Message, frozen=True):
    """The model is loaded."""

    n_ctx: int
    n_ctx_slot: int
    n_parallel: int
    n_ctx_train: int
    n_params: int
    load_s: float
    buffers: list[Buffer]
    has_chat_template: bool
    template_uses_date: bool
    template_sha256: str
    engine: str  # "llama.cpp (llama-cpp-python 0.3.36)"


class LoadFailed(Message, frozen=True):
    """The model could not be loaded; the worker exits."""

    message: str
    remedy: str | None = None  # what to type next


# Bounds of the classes in `Work.steps`, in seconds: a step of exactly a bound is still below it.
STEP_BOUNDS_S = tuple(0.001 * 2**power for power in range(15))  # 1 ms, 2 ms … 16.4 s


class Work(msgspec.Struct, frozen=True):
    """What a worker has done since its model was loaded.

    Sums that only grow: whoever misses some of them loses nothing, and the difference of two is
    what happened between them. Times are seconds.
    """

    steps: list[int]  # by how long they took, see `STEP_BOUNDS_S`; the last class has no bound
    step_s: float  # in steps, and of that …
    computing_s: float  # … in llama.cpp's computation
    choosing_s: float  # … in choosing tokens; the rest is the worker's own work
    idle_s: float  # with nothing to do
    sequences: int  # that steps computed a part of: divided by steps, how full a batch was
    prefill_tokens: int  # of prompts, computed
    decode_tokens: int  # of answers, computed
    reused_tokens: int  # of prompts, not computed because they were there
    admitted: int  # requests that were given a slot
    queue_s: float  # that they had waited for it, from their arrival


class Alive(Message, frozen=True):
    """Heartbeat, with what has been done since the model was loaded."""

    n_active: int
    n_waiting: int
    work: Work | None = None  # None until then


class Accepted(Message, frozen=True):
    """The prompt is rendered and tokenised and fits; the request will run."""

    request_id: int
    prompt_tokens: int
    form: AnswerForm = AnswerForm()


class TokenProb(msgspec.Struct, frozen=True, array_like=True):
    """A token that could come next, and the natural logarithm of its probability."""

    token: int
    spelling: bytes
    logprob: float


class ChosenToken(msgspec.Struct, frozen=True, array_like=True):
    """A token of an answer. What it added is the answer's text from ``start`` to ``end``.

    The two are equal for the first bytes of a character that the next token completes.
    """

    chosen: TokenProb
    likeliest: list[TokenProb]
    start: int  # in characters
    end: int


class TokenOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """Text that became final in this step: whole characters, never part of a stop string.

    If the request wants ``logprobs``, they come with the first of the text of their token.
    """

    request_id: int
    text: str
    n_tokens: int = 1  # tokens decoded since the last TokenOut of this request
    logprobs: list[ChosenToken] = []


class Step(Message, frozen=True):
    """The tokens of all slots from one decode step, in one frame."""

    tokens: list[TokenOut]


class Vectors(Message, frozen=True):
    """What was computed for some inputs of a request: vectors of length 1, or scores.

    ``rows`` are 32-bit floats, little-endian: as many for each input, in the order of ``indexes``.
    """

    request_id: int
    indexes: list[int]
    rows: bytes


class Tokens(Message, frozen=True):
    """The answer to `Tokenize`."""

    request_id: int
    tokens: list[int]
    spellings: list[bytes] = []  # of each, if they were asked for


class Finished(Message, frozen=True):
    """The request is done. Times are seconds on the worker's monotonic clock."""

    request_id: int
    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float


class Failed(Message, frozen=True):
    """The request cannot be served; the worker lives on.

    ``code`` is one of ``context_length_exceeded``, ``invalid_request_error``, ``template_error``,
    ``engine_error``. For the first, ``needed`` and ``available`` count tokens.
    """

    request_id: int
    code: str
    message: str
    needed: int | None = None
    available: int | None = None
    param: str | None = None  # the field of the request that is to blame


ToWorker = Load | Generate | Embed | Tokenize | Cancel | Shutdown
FromWorker = (
    Loading | Ready | LoadFailed | Alive | Accepted | Step | Vectors | Tokens | Finished | Failed
)
