"""Chat templates are tried on real chats: what they lose, refuse, or never end is found."""

import pytest

from mlm.engine.lint_template import lint_template
from mlm.gguf.vocabulary import CONTROL, NORMAL, Vocabulary

MARKS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>",
         "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "<|end|>", "<|user|>",
         "<|assistant|>", "<|begin_of_text|>", "<|stop|>")  # fmt: skip
TOKENS = ("user", "assistant", *MARKS)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{% for m in messages %}{% set c = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + "
    "m.content | trim + '<|eot_id|>' %}{% if loop.first %}{% set c = bos_token + c %}{% endif %}"
    "{{ c }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if m.role == 'user' %}"
    "{{ ' [INST] ' + m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}"
    "{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else "
    "m.role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)
PHI_3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}<|assistant|>\n"
)
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>\n"
    "{% endfor %}"
)


def vocabulary(bos: str = "<s>", eos: str = "</s>") -> Vocabulary:
    types = tuple(CONTROL if token in MARKS else NORMAL for token in TOKENS)
    return Vocabulary(TOKENS, types, {"bos": TOKENS.index(bos), "eos": TOKENS.index(eos)})


def codes(template: str | None, *, adds_bos: bool = False, **tokens: str) -> list[tuple[str, str]]:
    findings = lint_template(template, vocabulary(**tokens), adds_bos=adds_bos)
    return [(finding.severity, finding.code) for finding in findings]


@pytest.mark.parametrize("template", [CHATML, LLAMA_3, MISTRAL, GEMMA, PHI_3, WITH_TOOLS])
def test_templates_as_models_have_them_are_sound(template: str):
    assert codes(template) == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% for m in messages %}{{ m.content }", ("error", "template-broken")),
        ("{{ raise_exception('closed') }}", ("error", "template-broken")),
        ("{% for m in range(10 ** 10) %}{% endfor %}", ("error", "template-broken")),
        ("Say something.", ("error", "template-drops")),
        ("{{ messages[0].content }}{{ messages[-1].content }}<|im_end|>",
         ("error", "template-drops")),
        (CHATML.replace("messages %}", "messages if m.role != 'system' %}"),
         ("warn", "template-system")),
        ("{% if messages | length > 2 %}{{ raise_exception('one question') }}{% endif %}" + CHATML,
         ("error", "template-turns")),
        (CHATML.replace("<|im_end|>", "<|stop|>"), ("error", "end-of-turn")),
        (CHATML.replace("<|im_end|>", ""), ("error", "end-of-turn")),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
         ("warn", "end-of-turn")),
        ("{{ bos_token }}{{ bos_token }}" + CHATML, ("warn", "bos-twice")),
        (WITH_TOOLS.replace("tools | tojson", "'tools'"), ("warn", "template-tools")),
        ("{{ raise_exception('no tools') if messages[-1].role == 'tool' }}" + WITH_TOOLS,
         ("warn", "template-tools")),
        (None, ("info", "template-missing")),
    ],
)  # fmt: skip
def test_what_a_template_gets_wrong_is_found(template: str | None, expected: tuple[str, str]):
    assert codes(template) == [expected]


def test_a_second_bos_from_the_tokenizer_is_worth_knowing():
    assert codes(LLAMA_3, adds_bos=True) == [("info", "bos-twice")]
    assert codes(CHATML, adds_bos=True) == []


def test_a_token_of_its_own_may_end_the_turn():
    template = CHATML.replace("<|im_end|>", "<|stop|>")
    assert codes(template, eos="<|stop|>") == []


def test_the_findings_say_what_and_why():
    (finding,) = lint_template(
        CHATML.replace("<|im_end|>", "<|stop|>"), vocabulary(), adds_bos=False
    )
    assert "ends an answer with <|stop|>" in finding.what
    assert "run on" in finding.why and finding.fix
