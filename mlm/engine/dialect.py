"""How a model writes what is not meant for the reader: its thoughts, and its calls of tools.

Known from its chat template, which also shows the model earlier calls and their results.

- tags: ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``: Hermes, Qwen2.5, Qwen3, Granite 4
- bare: ``{"name": …, "parameters": {…}}``, perhaps after ``<|python_tag|>``: Llama 3.1 to 3.3
- list: ``[TOOL_CALLS][{"name": …, "arguments": {…}}]``: Mistral 7B v0.3, Nemo, Small 2409
- named: ``[TOOL_CALLS]name[ARGS]{…}``: Mistral Small 3.2, Devstral, Ministral 3

gpt-oss writes messages in a row, each with its channel: what is not in the final one are thoughts,
or a call. Gemma 4 has tags of its own for thoughts.

A template that writes none of these cannot be trusted with tools: then they are explained in the
system message instead, and calls are written in tags (``native`` is false).
"""

from dataclasses import dataclass

from mlm.engine.messages import AnswerForm, CallStyle

TAG_OPEN, TAG_CLOSE = "<tool_call>", "</tool_call>"
LIST_MARK, ARGUMENTS_MARK, CALL_ID_MARK = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
PYTHON_TAG = "<|python_tag|>"
_THOUGHTS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<channel|>"),
)
CHANNEL_MARK, MESSAGE_MARK, MESSAGE_END = "<|channel|>", "<|message|>", "<|end|>"
MESSAGE_START = "<|start|>"
_FINAL_HEAD = f"{CHANNEL_MARK}final{MESSAGE_MARK}"
# These models write no JSON inside <tool_call>, or something beside it: Qwen3-Coder, GLM, Apriel.
_NO_JSON = ("<function=", "<arg_key>", "<tool_calls>")
_MARKERS: dict[CallStyle, tuple[str, ...]] = {
    "": (),
    "tags": (TAG_OPEN, TAG_CLOSE),
    "bare": (PYTHON_TAG,),
    "list": (LIST_MARK,),
    "named": (LIST_MARK, ARGUMENTS_MARK, CALL_ID_MARK),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a template tells of its model."""

    calls: CallStyle = "tags"
    native: bool = False  # the template itself can explain tools and show calls
    think_open: str = ""
    think_close: str = ""
    channels: bool = False

    def form_of(self, prompt: str, *, with_tools: bool) -> AnswerForm:
        """Return the form of the answer to ``prompt``."""
        end = prompt.rstrip()
        thinks = bool(self.think_close) and not end.endswith(self.think_close)
        return AnswerForm(
            think_open=self.think_open if thinks else "",
            think_close=self.think_close if thinks else "",
            begins_thinking=thinks and end.endswith(self.think_open),  # by all means if that is ""
            calls=self.calls if with_tools else "",
            channels=thinks and self.channels,
        )


def read_dialect(template: str) -> Dialect:
    """Return the dialect of the model that has this chat template."""
    think_open, think_close = next(
        (pair for pair in _THOUGHTS if pair[0] in template and pair[1] in template), ("", "")
    )
    calls: CallStyle = _read_style(template)
    if _FINAL_HEAD in template:
        return Dialect(think_close=_FINAL_HEAD, channels=True)
    return Dialect(calls or "tags", bool(calls), think_open, think_close)


def markers_of(form: AnswerForm) -> tuple[str, ...]:
    """Return the markup of a form; where it is a token, the token must be spelled out."""
    thoughts = (form.think_open, form.think_close) if form.think_close else ()
    channels = (MESSAGE_START, CHANNEL_MARK, MESSAGE_MARK, MESSAGE_END) if form.channels else ()
    return (*thoughts, *channels, *_MARKERS[form.calls])


def _read_style(template: str) -> CallStyle:
    if "tools" not in template:
        return ""
    if LIST_MARK in template:
        return "named" if ARGUMENTS_MARK in template else "list"
    if TAG_OPEN in template:
        has_json = '"arguments"' in template or '\\"arguments\\"' in template
        return "tags" if has_json and not any(text in template for text in _NO_JSON) else ""
    is_llama3 = "<|start_header_id|>" in template and '"parameters": ' in template
    return "bare" if is_llama3 else ""
