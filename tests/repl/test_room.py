"""When the context is full, older turns go: announced, never those that are pinned."""

import pytest
from fakes.openai_server import count_tokens

from mlm.client import ContextLengthError
from mlm.errors import EngineError
from mlm.repl.chat import Chat
from mlm.repl.commands import run_command
from mlm.repl.conversation import Conversation, Turn

WORDS = " ".join(["word"] * 20)


@pytest.fixture
def said(chat: Chat) -> list[str]:
    """What the chat says beside answers."""
    told: list[str] = []
    chat.say = told.append
    return told


@pytest.fixture
def full(openai_server, chat: Chat) -> Chat:
    """Six turns of 46 tokens each; 300 may be used, of which 75 are for the answer."""
    openai_server.n_ctx_slot = 300
    turns = [Turn(f"Q{number} {WORDS[:-5]}", f"A{number} {WORDS[:-5]}") for number in range(1, 7)]
    chat.conversation = Conversation("Be brief.", tuple(turns))
    return chat


def ask(chat: Chat, question: str = "And now?") -> str:
    return "".join(delta.text for delta in chat.ask(question))


def questions_sent(openai_server) -> list[str]:
    messages = openai_server.asked[-1].body["messages"]
    return [said["content"].split()[0] for said in messages if said["role"] == "user"]


def test_older_turns_are_left_out_and_that_is_said_before_the_answer(openai_server, full, said):
    answer = full.ask("And now?")
    next(answer)
    (remark,) = said
    assert "turns 1 to 4" in remark and "/context" in remark
    answer.close()
    assert questions_sent(openai_server) == ["Q5", "Q6", "And"]
    assert count_tokens(openai_server.asked[-1].body) <= 300 - 75
    assert len(full.conversation.turns) == 7  # all that was said is still there


def test_it_is_said_once_and_then_there_is_room_for_some_time(openai_server, full, said):
    ask(full)
    ask(full)
    assert len(said) == 1
    assert questions_sent(openai_server) == ["Q5", "Q6", "And", "And"]


def test_a_pinned_turn_stays(openai_server, full, said):
    run_command(full, "/pin 2")
    ask(full)
    assert questions_sent(openai_server) == ["Q2", "Q5", "Q6", "And"] or questions_sent(
        openai_server
    ) == ["Q2", "Q6", "And"]
    run_command(full, "/unpin 2")
    ask(full)
    assert "Q2" not in questions_sent(openai_server)


def test_the_model_sums_up_what_goes_if_it_is_asked_to(openai_server, full, said):
    run_command(full, "/context summarise")
    openai_server.says("They", " said", " a lot.")
    ask(full)
    summing_up, question = [asked.body for asked in openai_server.asked if asked.body]
    assert summing_up["messages"][1]["content"].startswith("Q1")
    assert "Sum up" in summing_up["messages"][-1]["content"]
    assert question["messages"][2]["content"] == "They said a lot."
    assert said and "Summing up turns 1 to" in said[0]
    assert "summary" in run_command(full, "/context")


def test_the_next_summary_takes_in_the_one_before(openai_server, full, said):
    run_command(full, "/context summarise")
    openai_server.says("They", " said", " a lot.")
    ask(full)
    openai_server.says("And", " more.")
    for _ in range(3):
        ask(full, WORDS * 3)
    summing_up = [a.body for a in openai_server.asked if a.body and "temperature" in a.body][-1]
    assert summing_up["messages"][2]["content"] == "They said a lot."
    assert full.conversation.summary == "And more."


def test_a_summary_that_fails_costs_only_the_summary(openai_server, full, said):
    run_command(full, "/context summarise")
    openai_server.refuses(500, {"error": {"message": "out of ideas"}})
    answer = full.ask("And now?")
    with pytest.raises(Exception, match="out of ideas"):
        next(answer)
    assert "out of ideas" in said[1] and "No longer sent" in said[2]


def test_a_summary_is_kept_when_the_next_one_fails(openai_server, full, said):
    run_command(full, "/context summarise")
    openai_server.says("They", " said", " a lot.")
    ask(full)
    openai_server.refuses(500, {"error": {"message": "out of ideas"}})
    with pytest.raises(EngineError):
        ask(full, f"{WORDS} " * 8)
    assert full.conversation.summary == "They said a lot."


def test_nothing_is_left_out_where_that_is_not_wanted(openai_server, full, said):
    run_command(full, "/context off")
    with pytest.raises(ContextLengthError) as caught:
        ask(full)
    assert "/context drop" in str(caught.value.remedy)
    assert openai_server.asked[-1].body is None and said == []  # the server was not asked


def test_a_question_that_is_too_long_by_itself_is_refused_with_figures(openai_server, full):
    with pytest.raises(ContextLengthError) as caught:
        ask(full, "word " * 400)
    assert "needs 410 tokens" in caught.value.message  # 400, 3, system prompt 5, template 2
    assert "225 are available" in caught.value.message
    assert "75 for the answer" in caught.value.message
    assert full.unanswered is not None and len(full.conversation.turns) == 6
    assert "/attach" not in caught.value.remedy


def test_files_that_are_too_long_stay_attached_and_can_be_taken_off(openai_server, full, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 400)
    run_command(full, f"/attach {tmp_path}/long.txt")
    with pytest.raises(ContextLengthError, match="are available") as caught:
        list(full.ask(full.read_question("Sum up")))
    assert "/attach - takes the files off" in caught.value.remedy
    assert "long.txt" in run_command(full, "/attach")


def test_more_is_kept_for_a_longer_answer(openai_server, full, said):
    run_command(full, "/set max_tokens 150")
    ask(full)
    assert count_tokens(openai_server.asked[-1].body) <= 150


def test_undoing_far_enough_sends_everything_again(openai_server, full, said):
    ask(full)
    run_command(full, "/undo 4")
    ask(full)
    assert questions_sent(openai_server) == ["Q1", "Q2", "Q3", "And"]


def test_a_server_that_does_not_say_how_much_it_takes_gets_everything(openai_server, full, said):
    openai_server.n_ctx_slot = None
    ask(full)
    assert len(questions_sent(openai_server)) == 7 and said == []


def test_a_model_is_not_loaded_only_to_count_for_it(openai_server, chat, said, tmp_path):
    (tmp_path / "notes.md").write_text("one two three")
    run_command(chat, f"/attach {tmp_path}/notes.md")
    run_command(chat, "/context")
    assert "about" in said[0] and openai_server.tokenized == 0
    openai_server.n_ctx_slot = 300
    run_command(chat, f"/attach {tmp_path}/notes.md")
    assert said[1].endswith("notes.md: 6 tokens")


def test_after_a_failure_the_context_may_be_another_one(openai_server, full, said):
    openai_server.n_ctx_slot = 1000
    ask(full)
    openai_server.n_ctx_slot = 300  # it was started again
    openai_server.refuses(503, {"error": {"message": "not now"}})
    with pytest.raises(EngineError):
        ask(full)
    assert full.context.limit == 1000  # as far as anybody knows
    openai_server.says("Well")
    ask(full)
    assert full.context.limit == 300 and "No longer sent" in said[0]


def test_context_shows_what_is_sent_what_it_costs_and_what_is_not(openai_server, full, said):
    ask(full)
    run_command(full, "/pin 1")
    shown = run_command(full, "/context").splitlines()
    assert shown[0].split()[-1] == "2"
    assert shown[1].startswith("system prompt") and shown[1].endswith("Be brief.")
    assert [line.split()[1].strip(",") for line in shown if line.startswith("turn ")] == [
        "1", "5", "6", "7",
    ]  # fmt: skip
    assert "of 300 tokens, 75 kept for the answer" in "\n".join(shown)
    assert "Not sent: turns 2 to 4, 138 tokens" in "\n".join(shown)


def test_the_context_in_use_is_that_of_the_last_answer(openai_server, full, said):
    assert full.context.used is None
    ask(full)
    body = openai_server.asked[-1].body
    assert (full.context.used, full.context.limit) == (count_tokens(body) + 2, 300)
    full.model = "other"
    assert full.context.used is None  # it counts differently
    full.model = "tiny"
    run_command(full, "/undo")
    assert full.context.used is None  # until the next answer
