"""Each slash command does one thing to the chat and says so."""

import pytest

from mlm.errors import ConflictError, NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.commands import COMMANDS, Goodbye, run_command


def say(chat: Chat, question: str) -> str:
    return "".join(delta.text for delta in chat.ask(question))


def test_help_names_every_command(chat):
    shown = run_command(chat, "/help")
    assert all(f"/{command.name}" in shown for command in COMMANDS)
    assert max(map(len, shown.splitlines())) <= 80


def test_an_unknown_command_is_met_with_the_nearest_one(chat):
    with pytest.raises(NotFoundError) as caught:
        run_command(chat, "/modle")
    assert caught.value.remedy == "/model"
    with pytest.raises(NotFoundError) as caught:
        run_command(chat, "/etc/hosts is what?")
    assert "/help" in str(caught.value.remedy)


def test_model_lists_and_switches(openai_server, chat):
    openai_server.models = ["tiny", "small"]
    assert run_command(chat, "/model") == "* tiny\n  small"
    say(chat, "Hi")
    run_command(chat, "/model small")
    say(chat, "And you?")
    asked = openai_server.asked[-1].body
    assert asked["model"] == "small"
    assert len(asked["messages"]) == 3  # the conversation came along


def test_a_model_that_is_not_offered_leaves_the_old_one(openai_server, chat):
    openai_server.models = ["tiny", "small"]
    with pytest.raises(NotFoundError) as caught:
        run_command(chat, "/model smal")
    assert caught.value.remedy == "/model small"
    assert chat.model == "tiny"


def test_system_sets_shows_and_removes_the_prompt(openai_server, chat):
    assert "no system prompt" in run_command(chat, "/system")
    run_command(chat, "/system Be brief.")
    assert run_command(chat, "/system") == "Be brief."
    say(chat, "Hi")
    assert openai_server.asked[-1].body["messages"][0]["content"] == "Be brief."
    run_command(chat, "/system -")
    say(chat, "Hi")
    assert openai_server.asked[-1].body["messages"][0]["role"] == "user"


def test_stats_sum_up_the_answers(chat):
    assert "answers  0" in run_command(chat, "/stats")
    say(chat, "Hi")
    say(chat, "Hi")
    shown = run_command(chat, "/stats")
    assert "80, 16 of them cached" in shown
    assert "42 tokens" in shown  # in the context after the last answer
    assert "answer tokens   4" in shown


def test_save_writes_markdown_or_json_and_never_over_a_file(tmp_path, chat):
    with pytest.raises(UsageError):
        run_command(chat, f"/save {tmp_path}/empty.md")
    say(chat, "Hi")
    assert run_command(chat, f"/save {tmp_path}/talk.md") == f"Saved to {tmp_path}/talk.md"
    assert "Hello there" in (tmp_path / "talk.md").read_text()
    run_command(chat, f"/save {tmp_path}/talk.json")
    assert '"messages"' in (tmp_path / "talk.json").read_text()
    with pytest.raises(ConflictError):
        run_command(chat, f"/save {tmp_path}/talk.md")
    with pytest.raises(UsageError, match="cannot write"):
        run_command(chat, f"/save {tmp_path}/no/such/folder.md")


def test_clear_forgets_what_was_said(openai_server, chat):
    say(chat, "Hi")
    run_command(chat, "/clear")
    say(chat, "Again")
    assert len(openai_server.asked[-1].body["messages"]) == 1


def test_exit_leaves(chat):
    with pytest.raises(Goodbye):
        run_command(chat, "/exit")
