"""Templates of prompts: text with places, settings before it, nothing that computes."""

from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home", "no_stdin")


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def ask(mlm, server: OpenAIServer, tmp_path: Path):
    """Run a template that is written here, with more words."""

    def run(text: str, *words: str):
        path = tmp_path / "template.txt"
        path.write_text(text, encoding="utf-8")
        return mlm("run", "tiny", "--template", path, *words)

    return run


def asked(server: OpenAIServer) -> list[str]:
    return [message["content"] for message in server.asked[-1].body["messages"]]


def test_the_question_goes_where_the_template_wants_it(ask, server):
    assert ask("Sum up:\n{{ input }}\nBriefly!\n", "a long text").exit_code == ExitCode.OK
    assert asked(server) == ["Sum up:\na long text\nBriefly!"]


def test_variables_are_filled_in_and_never_looked_at_again(ask, server):
    ask("{{input}} in {{lang}}", "say {{lang}}", "--var", "lang={{input}} = x")
    assert asked(server) == ["say {{lang}} in {{input}} = x"]


def test_settings_come_first(ask, server):
    text = (
        "---\nsystem: You are {{who}}.\nvars: {who: terse, year: 1984}\ntemperature: 0.5\n"
        "max_tokens: 9\nseed: 1\n---\n{{input}} in {{year}}\n"
    )
    ask(text, "Hi")
    body = server.asked[-1].body
    assert asked(server) == ["You are terse.", "Hi in 1984"]
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 9, 1)

    ask(text, "Hi", "--var", "who=kind", "--seed", "2", "--system", "Be brief.")
    assert asked(server) == ["Be brief.", "Hi in 1984"]
    assert server.asked[-1].body["seed"] == 2


def test_settings_alone_leave_the_question_as_it_is(ask, server):
    ask("---\nsystem: Be brief.\n---\n", "Hi")
    assert asked(server) == ["Be brief.", "Hi"]


def test_a_schema_of_a_template_holds_the_answer(ask, server):
    server.says('{"name": "Bo"}')
    result = ask("---\nschema: name\n---\nWho is this? {{input}}", "Bo")
    assert result.stdout == '{"name": "Bo"}\n'
    assert server.asked[-1].body["response_format"]["type"] == "json_schema"


def test_a_template_may_need_no_question(ask, server):
    ask("Tell a joke")
    assert asked(server) == ["Tell a joke"]


def test_braces_can_be_meant(ask, server):
    ask(r"Fill \{{name}} in {{input}}, {not this} {{", "Hi")
    assert asked(server) == ["Fill {{name}} in Hi, {not this} {{"]


@pytest.mark.parametrize(
    ("text", "words", "said"),
    {
        "missing": ("{{a}} {{b}}", ["--var", "a=1"], "--var b=…"),
        "unknown": ("{{input}}", ["Hi", "--var", "who=me"], "no place for a variable 'who'"),
        "no place": ("Just this.", ["Hi"], "no place for what is piped"),
        "no input": ("{{input}}", [], "needs an input"),
        "computes": ("{{ 7 * 7 }}", [], "{{7 * 7}} is not the name of a variable"),
        "reaches": ("{{ a.__class__ }}", [], "is not the name of a variable"),
        "input twice": ("{{input}}", ["Hi", "--var", "input=x"], "no place for a variable 'input'"),
        "no value": ("{{a}}", ["--var", "a"], "--var name=value"),
        "no end": ("---\nsystem: x\n", [], "do not end"),
        "odd setting": ("---\nmodel: x\n---\n", ["Hi"], "no setting 'model'"),
        "odd value": ("---\nmax_tokens: many\n---\n", ["Hi"], "'max_tokens' cannot be 'many'"),
        "odd variable": ("---\nvars: {a: [1]}\n---\n{{a}}", [], "'a' is no text"),
        "list": ("---\n- a\n---\n", ["Hi"], "not names and values"),
        "no YAML": ("---\na: b: c\n---\n", ["Hi"], "template.txt:2:"),
        "alias": ("---\nsystem: &a x\n---\n", ["Hi"], "anchors"),
    }.values(),
)
def test_what_does_not_fit_is_said_before_anybody_is_asked(ask, server, text, words, said):
    result = ask(text, *words)
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr
    assert not any(asked.body for asked in server.asked)


def test_variables_need_a_template(mlm, server):
    result = mlm("run", "tiny", "Hi", "--var", "a=1")
    assert result.exit_code == ExitCode.USAGE
    assert "--template" in result.stderr


def test_a_template_that_is_not_there(mlm, server, tmp_path: Path):
    result = mlm("run", "tiny", "Hi", "-t", tmp_path / "gone.txt")
    assert result.exit_code == ExitCode.NOT_FOUND


def test_a_template_of_braces_costs_no_time(ask, server):
    for braces in ("{{" * 200_000, "{{x" * 100_000, "}}" * 200_000, r"\{{" * 100_000):
        assert ask(f"{braces} {{{{input}}}}", "Hi").exit_code == ExitCode.OK
        assert asked(server)[0].endswith(" Hi")
