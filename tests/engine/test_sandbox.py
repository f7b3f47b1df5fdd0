"""A real sandbox process, and templates and grammars that try to take it down."""

from collections.abc import Iterator

import pytest

from mlm.engine.sandbox import Sandbox, SandboxError

CHAT = [{"role": "user", "content": "Hi"}]
BOMBS = {
    "loops in loops": "{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% for c in r %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "a power tower": "{% set n = 9 %}{{ n ** (n ** n) }}",
    "a string of ten gigabytes": "{{ ('a' * 10**10) | length }}",
    "a wide column": "{{ '%1000000000000d' | format(1) }}",
    "a centred text": "{{ 'a' | center(10**11) }}",
    "a list that doubles": "{% set n = namespace(x=[1, 2]) %}{% for i in range(60) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "deep nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}


@pytest.fixture
def sandboxes() -> Iterator[list[Sandbox]]:
    made: list[Sandbox] = []
    yield made
    for sandbox in made:
        sandbox.stop()


def test_a_template_is_rendered_in_another_process(sandboxes: list[Sandbox]):
    sandboxes.append(sandbox := Sandbox("{{ bos_token }}{{ messages[0].content }}", bos_text="<s>"))
    assert [sandbox.render(CHAT, None, {}) for _ in range(2)] == ["<s>Hi", "<s>Hi"]


def test_a_refusal_is_the_callers_fault_and_a_failure_is_not(sandboxes: list[Sandbox]):
    sandboxes.append(
        sandbox := Sandbox("{% if x %}{{ raise_exception('no') }}{% endif %}{{ 1 / 0 }}")
    )
    with pytest.raises(SandboxError, match="refuses this chat: no") as refused:
        sandbox.render(CHAT, None, {"x": True})
    with pytest.raises(SandboxError, match="division by zero") as failed:
        sandbox.render(CHAT, None, {})
    assert (refused.value.code, failed.value.code) == ("invalid_request_error", "template_error")


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_one_request_and_the_next_is_served(name: str, sandboxes: list[Sandbox]):
    source = "{% if x %}" + BOMBS[name] + "{% else %}fine{% endif %}"
    sandboxes.append(sandbox := Sandbox(source, time_limit_s=0.2))
    with pytest.raises(SandboxError) as error:
        sandbox.render(CHAT, None, {"x": True})
    assert error.value.code == "template_error"
    if name != "deep nesting":  # that one cannot even be compiled
        assert sandbox.render(CHAT, None, {}) == "fine"


def test_grammars_are_tried_out_and_hostile_ones_refused(sandboxes: list[Sandbox]):
    sandboxes.append(sandbox := Sandbox("", time_limit_s=0.3))
    sandbox.check_grammar('root ::= "yes" | "no"')
    doubling = "\n".join(f"r{n} ::= r{n + 1}? r{n + 1}?" for n in range(40)) + '\nr40 ::= "a"?'
    hostile = ["root ::= (", 'start ::= "x"', 'root ::= root "x"', 'root ::= "x"{9999,99999}',
               "root ::= " + "(" * 100_000, "root ::= r0\n" + doubling]  # fmt: skip
    for grammar in hostile:
        with pytest.raises(SandboxError) as error:
            sandbox.check_grammar(grammar)
        assert error.value.code == "invalid_request_error"
    sandbox.check_grammar("root ::= [a-z]+")
