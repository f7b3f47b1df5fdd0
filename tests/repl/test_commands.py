"""Each slash command does one thing to the chat and says so."""

import json
import re

import pytest

from mlm.errors import ConflictError, EngineError, MlmError, NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.commands import COMMANDS, Goodbye, run_command
from mlm.repl.commands.files import choose_text
from mlm.repl.conversation import Turn


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
    openai_server.models = ["tiny", "small:Q4_K_M", "small:Q8_0"]
    with pytest.raises(NotFoundError) as caught:
        run_command(chat, "/model small")
    assert caught.value.remedy == "/model small:Q8_0 or /model small:Q4_K_M"
    assert chat.model == "tiny"


def test_a_model_is_known_by_the_beginning_of_its_name(openai_server, chat):
    openai_server.models = ["tiny", "Small:Q4_K_M"]
    assert "Now talking with Small:Q4_K_M" in run_command(chat, "/model small")
    assert chat.model == "Small:Q4_K_M"


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
    assert (tmp_path / "talk.md").read_text() == (
        "# Hi\n\n*A conversation with tiny*\n\n## Question\n\nHi\n\n## Answer\n\nHello there\n"
    )
    run_command(chat, f"/save {tmp_path}/talk.json")
    body = json.loads((tmp_path / "talk.json").read_text())  # can be sent again
    assert body["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
    ]
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


def test_help_tells_more_of_one_command(chat):
    shown = run_command(chat, "/help set")
    assert shown.startswith("/set [NAME") and "/set temperature 0.2" in shown
    assert run_command(chat, "/help /undo").startswith("/undo [N]")
    with pytest.raises(NotFoundError):
        run_command(chat, "/help nonsense")


def test_set_changes_what_is_sent_until_it_is_unset(openai_server, chat):
    assert run_command(chat, "/set temperature") == (
        "temperature is 0.8 by default: a number from 0 to 2;"
        " 0 takes the likeliest token; more varies more"
    )
    run_command(chat, "/set temperature 0.2")
    run_command(chat, '/set stop ["END"]')
    shown = run_command(chat, "/set")
    assert "0.2 (set)" in shown and "typical_p" in shown
    assert max(map(len, shown.splitlines())) <= 80
    say(chat, "Hi")
    body = openai_server.asked[-1].body
    assert (body["temperature"], body["stop"]) == (0.2, ["END"])
    run_command(chat, "/set temperature -")
    say(chat, "Hi")
    assert "temperature" not in openai_server.asked[-1].body


def test_retry_asks_the_last_question_again_differently_for_once(openai_server, chat):
    say(chat, "Hi")
    question = run_command(chat, "/retry temperature 1.5")
    openai_server.says("Good day")
    assert "".join(delta.text for delta in chat.ask(question)) == "Good day"
    assert openai_server.asked[-1].body["temperature"] == 1.5
    assert [turn.answer for turn in chat.conversation.turns] == ["Good day"]
    say(chat, "And?")
    assert "temperature" not in openai_server.asked[-1].body


def test_a_pinned_turn_stays_pinned_when_it_is_asked_again(chat):
    say(chat, "Hi")
    run_command(chat, "/pin")
    list(chat.ask(run_command(chat, "/retry")))
    assert chat.conversation.turns == (Turn("Hi", "Hello there", pinned=True),)


def test_a_second_answer_that_fails_leaves_the_first(openai_server, chat):
    say(chat, "Hi")
    openai_server.refuses(503, {"error": {"message": "not now"}})
    with pytest.raises(EngineError):
        list(chat.ask(run_command(chat, "/retry")))
    assert [turn.answer for turn in chat.conversation.turns] == ["Hello there"]


def test_edit_asks_something_else_in_place_of_the_last_question(openai_server, chat):
    say(chat, "Hi")
    question = run_command(chat, "/edit Good morning")
    list(chat.ask(question))
    assert [turn.question for turn in chat.conversation.turns] == ["Good morning"]


def test_edit_keeps_the_files_that_were_attached(openai_server, chat, tmp_path):
    (tmp_path / "notes.md").write_text("one two three")
    run_command(chat, f"/attach {tmp_path}/notes.md")
    list(chat.ask(chat.read_question("Sum up")))
    run_command(chat, "/edit")
    assert chat.draft.editable == "Sum up"
    list(chat.ask(chat.read_question("Translate")))
    (sent,) = openai_server.asked[-1].body["messages"]
    assert "one two three" in sent["content"] and sent["content"].endswith("\n\nTranslate")


@pytest.mark.parametrize("line", ["/retry", "/edit", "/undo", "/pin", "/copy"])
def test_where_nothing_was_said_there_is_nothing_to_do(chat, line: str):
    with pytest.raises(UsageError):
        run_command(chat, line)


def test_undo_takes_back_the_last_turns(openai_server, chat):
    for question in ("One", "Two", "Three"):
        say(chat, question)
    assert run_command(chat, "/undo 2").endswith("from “Two” on; 1 is left.")
    assert [turn.question for turn in chat.conversation.turns] == ["One"]
    for line in ("/undo 2", "/undo 0", "/undo x", "/undo -1"):
        with pytest.raises(UsageError):
            run_command(chat, line)
    assert len(chat.conversation.turns) == 1


def test_only_turns_that_exist_can_be_pinned(chat):
    say(chat, "Hi")
    with pytest.raises(NotFoundError, match="no turn 2, only 1"):
        run_command(chat, "/pin 2")
    with pytest.raises(UsageError, match="not pinned"):
        run_command(chat, "/unpin")


def test_attach_adds_files_to_the_next_question_only(openai_server, chat, tmp_path, capsys):
    (tmp_path / "my notes.md").write_text("one two three")
    (tmp_path / "b.txt").write_text("four")
    assert "Nothing is attached" in run_command(chat, "/attach")
    run_command(chat, f"/attach {tmp_path}/my notes.md")
    assert re.search(
        r"my notes\.md: about \d+ tokens\n", capsys.readouterr().err
    )  # it cannot count
    run_command(chat, "/attach -")
    run_command(chat, f"/attach '{tmp_path}/my notes.md' {tmp_path}/b.txt")
    assert len(run_command(chat, "/attach").splitlines()) == 2
    list(chat.ask(chat.read_question("Sum up")))
    assert "four" in openai_server.asked[-1].body["messages"][-1]["content"]
    list(chat.ask(chat.read_question("And?")))
    assert openai_server.asked[-1].body["messages"][-1]["content"] == "And?"


def test_files_stay_attached_until_a_question_with_them_is_answered(openai_server, chat, tmp_path):
    (tmp_path / "a.txt").write_text("one two three")
    say(chat, "Hi")
    run_command(chat, f"/attach {tmp_path}/a.txt")
    openai_server.refuses(503, {"error": {"message": "not now"}})
    with pytest.raises(MlmError):
        list(chat.ask(chat.read_question("Sum up")))
    openai_server.says("Fine.")
    list(chat.ask(chat.read_question("Sum up")))
    assert "one two three" in openai_server.asked[-1].body["messages"][-1]["content"]
    assert chat.attached == ()


def test_asking_the_last_question_again_leaves_files_for_the_next(chat, tmp_path):
    (tmp_path / "a.txt").write_text("one two three")
    say(chat, "Hi")
    run_command(chat, f"/attach {tmp_path}/a.txt")
    list(chat.ask(run_command(chat, "/retry")))
    assert len(chat.attached) == 1


def test_a_file_that_is_attached_and_named_goes_once(openai_server, chat, tmp_path):
    (tmp_path / "notes.md").write_text("the moon is made of cheese")
    chat.reads_files = True
    run_command(chat, f"/attach {tmp_path / 'notes.md'}")
    say(chat, chat.read_question(f"What does @{tmp_path / 'notes.md'} say?"))
    assert openai_server.asked[-1].body["messages"][-1]["content"].count("cheese") == 1


def test_a_file_that_cannot_be_attached_leaves_those_that_are(chat, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    run_command(chat, f"/attach {tmp_path}/a.txt")
    with pytest.raises(NotFoundError):
        run_command(chat, f"/attach {tmp_path}/a.txt {tmp_path}/b.txt")
    with pytest.raises(UsageError, match="quote"):
        run_command(chat, "/attach 'a")
    assert len(chat.attached) == 1


def test_what_is_copied_cannot_command_the_terminal_it_is_pasted_into():
    turns = [Turn("Hi", "ls\x1b[201~\n"), Turn("And?", "```sh\nrm a\n```\nor\n~~~py\nx = 1\n~~~\n")]
    assert choose_text(turns, "1") == ("The answer of turn 1", "ls\n")
    assert choose_text(turns, "code")[1] == "x = 1\n"
    assert choose_text(turns, "")[1].startswith("```sh")
    for which in ("0", "3", "-1", "x", "9" * 5000):
        with pytest.raises(UsageError):
            choose_text(turns, which)
    with pytest.raises(NotFoundError):
        choose_text(turns[:1], "code")
