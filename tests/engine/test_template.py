"""Chat templates in the manner of those that come with models."""

import json

import pytest

from mlm.engine.template import (
    CHATML,
    TRANSCRIPT,
    ChatTemplate,
    TemplateError,
    TemplateRefusal,
    uses_date,
)

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]


def render(source: str, messages: list[dict[str, object]] = CHAT, **more: object) -> str:
    return ChatTemplate(source, bos_text="<s>", eos_text="</s>").render(messages, **more)


def test_a_loop_over_messages_with_the_models_own_special_tokens():
    source = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m.content }}"
        "{{ eos_token if m.role == 'assistant' }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert render(source) == (
        "<s>[system]Be brief.[user]Hi[assistant]Hello</s>[user]Bye[assistant]"
    )


def test_block_tags_leave_no_blank_lines_behind():
    source = (
        "{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n"
    )
    assert render(source) == "Be brief.\nHi\nHello\nBye\n"


def test_namespaces_and_loop_controls_work():
    source = (
        "{% set n = namespace(count=0) %}{% for m in messages %}"
        "{% if m.role == 'system' %}{% continue %}{% endif %}{% set n.count = n.count + 1 %}"
        "{% if n.count == 2 %}{% break %}{% endif %}{% endfor %}{{ n.count }}"
    )
    assert render(source) == "2"


def test_a_generation_block_passes_its_text():
    assert render("{% generation %}x{{ messages[1].content }}{% endgeneration %}y") == "xHiy"


def test_tojson_writes_what_models_were_trained_on_not_html():
    tools = [{"name": "größe", "about": "a < b & 'c'"}]
    assert json.loads(render("{{ tools | tojson(indent=2) }}", tools=tools)) == tools
    assert render("{{ tools | tojson }}", tools=tools) == json.dumps(tools, ensure_ascii=False)


def test_template_arguments_reach_the_template_but_never_replace_the_messages():
    arguments = {"enable_thinking": False, "messages": [], "bos_token": "!"}
    source = "{{ bos_token }}{{ enable_thinking }}{{ messages | length }}"
    assert render(source, arguments=arguments) == "<s>False4"


def test_a_date_can_be_asked_for():
    assert render("{{ strftime_now('%Y') }}").isdigit()
    assert uses_date("{{ strftime_now('%Y') }}")
    assert not uses_date(CHATML)


def test_parts_of_text_become_one_text_and_no_content_becomes_none():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    chat = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert render("{% for m in messages %}<{{ m.content }}>{% endfor %}", chat) == "<one\ntwo><>"


def test_a_picture_is_refused():
    chat = [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]
    with pytest.raises(TemplateRefusal, match="only text"):
        render("x", chat)


def test_a_template_that_refuses_a_system_message_gets_it_in_the_first_user_message():
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    )
    assert render(source) == "[user]Be brief.\n\nHi[assistant]Hello[user]Bye"


def test_what_a_template_refuses_is_told_in_its_own_words():
    with pytest.raises(TemplateRefusal, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}", CHAT[1:])


def test_a_model_without_a_template_is_talked_to_in_chatml_or_a_transcript():
    assert render(CHATML, CHAT[1:2]) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert render(TRANSCRIPT) == "Be brief.\n\nUser: Hi\nAssistant: Hello\nUser: Bye\nAssistant:"


@pytest.mark.parametrize(
    "source", ["{% for %}", "{{ x", "{% if %}{% endif %}", "{{ nothing.at.all }}", "{{ 1 / 0 }}",
               "{% include 'passwd' %}", "{% import 'os' as os %}", "{{ '%d' | format('x') }}"]
)  # fmt: skip
def test_a_broken_template_is_an_error_with_a_reason(source: str):
    with pytest.raises(TemplateError, match=r"the model's chat template (is broken|fails): .+"):
        render(source)


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ (messages|attr('__class__')).__init__.__globals__ }}",
    "{{ raise_exception.__globals__['__builtins__'] }}",
    "{{ strftime_now.__globals__ }}",
    "{{ namespace.__init__.__globals__.os.popen('touch canary') }}",
    "{{ cycler.__init__.__globals__.os.system('touch canary') }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('touch canary').read() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.environment.loader }}",
    "{{ '{0.__class__.__base__}'.format(messages) }}",
    "{{ ('{0.__class__}' | format(messages)).x.y }}",
    "{{ messages | map(attribute='__class__') | first }}",
    "{{ [messages] | map('attr', '__class__') | first | attr('mro') }}",
    "{{ ''['__class__'] }}{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f')|attr('mro') }}",
    "{% for c in ''.__class__.__mro__ %}{{ c }}{% endfor %}",
    "{{ (1).__class__.__base__.__subclasses__ }}",
    "{{ messages.append({}) }}",
    "{{ messages[0].update(role='x') }}",
    "{% set x = messages.pop() %}",
    "{{ range(10**9) | list }}",
    "{{ url_for.__globals__ }}",
    "{{ request.application.__globals__ }}",
    "{{ tojson.__globals__ }}",
    "{{ messages.__reduce_ex__(2) }}",
    "{% set g = namespace() %}{{ g.__dict__ }}{{ g.__class__.__init__.__code__ }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{{ ''.join.__self__.__class__.__mro__ }}",
    "{{ (messages | groupby('role') | first).__class__.__mro__ }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_gets_out_of_the_sandbox(source: str, tmp_path, monkeypatch):
    """It fails or comes to nothing; it never shows an object's inside, or leaves a file."""
    monkeypatch.chdir(tmp_path)
    try:
        text = render(source)
    except TemplateError:
        text = ""
    assert not any(word in text for word in ("<class", "<module", "<built-in", "<function"))
    assert list(tmp_path.iterdir()) == []


def test_a_template_may_write_a_mebibyte_and_no_more():
    with pytest.raises(TemplateError, match="over a mebibyte"):
        render("{% for i in range(1100) %}" + "x" * 1000 + "{% endfor %}")


def test_a_template_argument_may_have_any_name():
    assert render("{{ args }}", arguments={"self": "a", "args": "b"}) == "b"


def test_half_a_surrogate_pair_is_the_templates_fault():
    with pytest.raises(TemplateError, match="surrogate"):
        render("{{ '\\ud800' }}")
