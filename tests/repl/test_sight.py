"""Pictures in a chat: shown to models that take them, named to those that do not, kept with it."""

import json
from pathlib import Path

import pytest
from fakes.openai_server import pictures_of, text_of
from fakes.picture_files import png

from mlm.client import ContextLengthError
from mlm.errors import UsageError
from mlm.repl.attachment import TakesNoPictures
from mlm.repl.chat import Chat
from mlm.repl.commands import run_command
from mlm.repl.conversation import Conversation, Turn
from mlm.repl.keeper import Keeper
from mlm.repl.loop import respond
from mlm.repl.question import Question
from mlm.sessions.store import Sessions
from mlm.sessions.types import Picture


@pytest.fixture
def said(chat: Chat) -> list[str]:
    """What the chat says beside answers."""
    told: list[str] = []
    chat.say = told.append
    chat.reads_files = True
    return told


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the chat runs, with two pictures in it."""
    (tmp_path / "red.png").write_bytes(png(8, 6))
    (tmp_path / "blue.png").write_bytes(png(5, 5, b"\0\0\xff"))
    (tmp_path / "red2.png").write_bytes(png(8, 6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(chat: Chat, typed: str) -> None:
    question = chat.read_question(typed)
    assert "".join(delta.text for delta in chat.ask(question))


def command(chat: Chat, line: str) -> None:
    outcome = run_command(chat, line)
    assert isinstance(outcome, Question)
    assert "".join(delta.text for delta in chat.ask(outcome))


def sent(openai_server) -> list[tuple[list[bytes], str]]:
    """The pictures and the text of each question that went along last."""
    messages = [said for said in openai_server.asked[-1].body["messages"] if said["role"] == "user"]
    return [(pictures_of(said["content"]), text_of(said["content"])) for said in messages]


RED, BLUE = png(8, 6), png(5, 5, b"\0\0\xff")


def test_a_picture_that_a_question_names_goes_before_it(openai_server, chat, said, folder):
    ask(chat, "What is @red.png?")
    assert sent(openai_server) == [([RED], "What is @red.png?")]
    assert said == ["red.png: 8x6 pixels"]


def test_what_is_attached_goes_once_and_stays_part_of_the_conversation(
    openai_server, chat, said, folder
):
    run_command(chat, "/attach red.png blue.png")
    assert run_command(chat, "/attach") == "red.png, 8x6 pixels\nblue.png, 5x5 pixels"
    ask(chat, "Which is brighter?")
    ask(chat, "Why?")
    assert sent(openai_server) == [([RED, BLUE], "Which is brighter?"), ([], "Why?")]


def test_texts_and_pictures_go_together(openai_server, chat, said, folder):
    (folder / "a.md").write_text("A\n")
    ask(chat, "Does @a.md tell of @red.png?")
    assert sent(openai_server) == [([RED], "a.md:\n```md\nA\n```\n\nDoes @a.md tell of @red.png?")]


def test_a_model_without_eyes_is_not_asked_and_that_is_said_at_once(
    openai_server, chat, said, folder
):
    openai_server.blind = ["tiny"]
    for attempt in (
        lambda: run_command(chat, "/attach red.png"),
        lambda: chat.read_question("What is @red.png?"),
    ):
        with pytest.raises(TakesNoPictures, match=r"red\.png is a picture") as caught:
            attempt()
        assert "/model" in caught.value.remedy and "--use vision" in caught.value.remedy
    assert (chat.attached, said) == ((), [])
    assert not any(asked.body for asked in openai_server.asked)


def test_what_was_attached_waits_for_a_model_that_sees(openai_server, chat, said, folder):
    openai_server.models = ["seer", "tiny"]
    openai_server.blind = ["tiny"]
    chat.model = "seer"
    run_command(chat, "/attach red.png")
    run_command(chat, "/model tiny")
    with pytest.raises(TakesNoPictures):
        ask(chat, "What is this?")
    run_command(chat, "/model seer")
    command(chat, "/retry")
    assert sent(openai_server) == [([RED], "What is this?")]
    assert chat.attached == ()


def test_a_question_is_asked_again_with_its_pictures(openai_server, chat, said, folder):
    run_command(chat, "/attach red.png")
    ask(chat, "What is this, beside @blue.png?")
    command(chat, "/retry temperature 1")
    assert sent(openai_server) == [([RED, BLUE], "What is this, beside @blue.png?")]
    run_command(chat, "/edit")
    ask(chat, "And what is this?")  # which is no longer about the other
    assert sent(openai_server) == [([RED], "And what is this?")]
    ask(chat, "More?")
    run_command(chat, "/undo")
    ask(chat, "Why?")
    assert sent(openai_server) == [([RED], "And what is this?"), ([], "Why?")]


def test_a_model_without_eyes_that_takes_over_gets_the_names(openai_server, chat, said, folder):
    openai_server.models = ["seer", "tiny"]
    openai_server.blind = ["tiny"]
    chat.model = "seer"
    ask(chat, "What is @red.png?")
    said.clear()
    run_command(chat, "/model tiny")
    remark = "This model takes no pictures: the earlier picture is left out, and only named"
    assert said == [remark]
    ask(chat, "Why?")
    ask(chat, "And?")
    assert said == [remark]
    assert sent(openai_server)[0] == ([], "[picture: red.png, 8x6 pixels]\n\nWhat is @red.png?")
    run_command(chat, "/model seer")
    ask(chat, "Look again.")
    assert sent(openai_server)[0] == ([RED], "What is @red.png?")


def test_a_retry_by_a_model_without_eyes_is_refused_and_nothing_is_lost(
    openai_server, chat, said, folder
):
    openai_server.models = ["seer", "tiny"]
    openai_server.blind = ["tiny"]
    chat.model = "seer"
    ask(chat, "What is @red.png?")
    run_command(chat, "/model tiny")
    with pytest.raises(TakesNoPictures):
        command(chat, "/retry")
    assert len(chat.conversation.turns) == 1


def of_size(name: str, mebibytes: int) -> Picture:
    return Picture(name, 8, 6, RED + bytes(mebibytes * 1024**2))


def test_of_more_pictures_than_a_request_holds_the_last_are_sent(openai_server, chat, said):
    openai_server.n_ctx_bytes = 8 * 1024**2
    for number in range(1, 5):
        turn = Turn(f"Q{number}", "A", pictures=(of_size(f"{number}.png", 1),))
        chat.conversation = chat.conversation.with_turn(turn)
    question = Question("Q5", pictures=(of_size("5.png", 2),))
    "".join(delta.text for delta in chat.ask(question))
    counts = [(len(pictures), text) for pictures, text in sent(openai_server)]
    named = [(0, f"[picture: {n}.png, 8x6 pixels]\n\nQ{n}") for n in (1, 2)]
    assert counts == [*named, (1, "Q3"), (1, "Q4"), (1, "Q5")]
    assert said == [
        "To make room in the request: the 2 earlier pictures are left out, and only named"
    ]
    with pytest.raises(UsageError, match="too many for one request"):
        next(chat.ask(Question("Q6", pictures=(of_size("a", 3), of_size("b", 3)))))
    small = [Picture(f"{number}.png", 8, 6, RED) for number in range(17)]
    "".join(delta.text for delta in chat.ask(Question("Q7", pictures=tuple(small[:16]))))
    assert [len(pictures) for pictures, _ in sent(openai_server)] == [0, 0, 0, 0, 0, 16]
    with pytest.raises(UsageError, match="17 pictures are too many for one request"):
        next(chat.ask(Question("Q8", pictures=tuple(small))))


def test_the_context_has_a_row_for_each_picture(openai_server, chat, said, folder):
    openai_server.n_ctx_slot = 4096
    ask(chat, "What is @red.png?")
    run_command(chat, "/attach blue.png")
    rows = [" ".join(line.split()) for line in run_command(chat, "/context").splitlines()]
    assert "turn 1, picture 256 red.png, 8x6 pixels" in rows
    assert "attached 256 blue.png, 5x5 pixels, with the next question" in rows
    assert any(row.startswith("█") and "about" in row for row in rows)


def test_what_a_picture_costs_is_said_first_where_the_server_counts_it(
    openai_server, chat, said, folder
):
    openai_server.n_ctx_slot, openai_server.picture_tokens = 4096, 300
    run_command(chat, "/attach red.png")
    assert said == ["red.png: 8x6 pixels, 300 tokens"]
    ask(chat, "What is this?")
    rows = [" ".join(line.split()) for line in run_command(chat, "/context").splitlines()]
    assert "turn 1, picture 300 red.png, 8x6 pixels" in rows
    assert any("█" in row and "about" not in row for row in rows)
    (folder / "large.png").write_bytes(png(3000, 1500))
    run_command(chat, "/attach large.png")
    assert said[-1] == "large.png: 300 tokens; 3000x1500 made 2048x1024 to send it"


def test_pictures_that_were_counted_make_room_as_texts_do(openai_server, chat, said, folder):
    openai_server.n_ctx_slot, openai_server.picture_tokens = 1000, 300
    for typed in ("Is @red.png red?", "Is @blue.png blue?", "Is @red.png blue?"):
        ask(chat, typed)
    assert said[-1].startswith("No longer sent, to make room: turn 1 ")
    assert sent(openai_server) == [([BLUE], "Is @blue.png blue?"), ([RED], "Is @red.png blue?")]
    with pytest.raises(ContextLengthError, match="needs 911 tokens"):
        ask(chat, "Are @red.png, @blue.png and @red2.png red?")


def test_a_guess_of_what_a_picture_takes_refuses_no_question(openai_server, chat, said, folder):
    openai_server.n_ctx_slot = 200  # less than a picture is thought to take
    ask(chat, "What is @red.png?")
    assert sent(openai_server) == [([RED], "What is @red.png?")]
    ask(chat, "Why?")  # the server has counted what is there
    assert len(sent(openai_server)) == 2
    run_command(chat, "/system Be brief.")
    chat.when_full = "off"
    ask(chat, "And?")
    assert len(sent(openai_server)) == 3
    assert said == ["red.png: 8x6 pixels"]
    run_command(chat, "/system Be very brief.")
    chat.when_full = "drop"
    ask(chat, "And now?")
    assert "No longer sent, to make room: turn 1 " in said[-1]


def test_pictures_of_turns_that_are_not_sent_take_no_room(openai_server, chat, said):
    openai_server.n_ctx_bytes = 8 * 1024**2
    sizes = {1: 1, 2: 3, 3: 1, 4: 2}  # in all too much, but not without the second turn
    turns = [Turn(f"Q{n}", "A", pictures=(of_size("a.png", size),)) for n, size in sizes.items()]
    chat.conversation = Conversation(turns=tuple(turns)).leaving_out(2).with_pin(1, True)
    "".join(delta.text for delta in chat.ask("Q5"))
    counts = [(len(pictures), text) for pictures, text in sent(openai_server)]
    assert counts == [(1, "Q1"), (1, "Q3"), (1, "Q4"), (0, "Q5")]
    assert said == []


class Silent:
    """A screen that nobody looks at."""

    def stream(self, deltas):
        assert "".join(delta.text for delta in deltas)

    def conclude(self, answer):
        """Say nothing."""

    def show(self, text):
        """Say nothing."""

    remind = remark = fail = show


def test_a_saved_conversation_goes_on_with_its_pictures(openai_server, chat, said, folder):
    with Sessions(folder / "sessions.sqlite") as sessions:
        chat.keeper = Keeper(sessions, pytest.fail)
        run_command(chat, "/attach red.png")
        respond(chat, "What is this, and @blue.png?", Silent())
        known = chat.keeper.session
        revision = known.revision
        chat.keep()
        assert chat.keeper.session.revision == revision  # nothing has changed
        run_command(chat, "/clear")
        (folder / "red.png").unlink()
        (folder / "blue.png").unlink()
        run_command(chat, f"/load {known.id}")
        respond(chat, "Why?", Silent())
        question = "What is this, and @blue.png?"
        assert sent(openai_server) == [([RED, BLUE], question), ([], "Why?")]
        run_command(chat, "/undo")
        run_command(chat, "/edit")
        respond(chat, "Or @blue.png?", Silent())  # both are kept, though their files are gone
        assert sent(openai_server) == [([RED, BLUE], "Or @blue.png?")]
        (before, _) = sessions.read(chat.keeper.session).messages
        assert [picture.name for picture in before.pictures] == ["red.png", "blue.png"]


def test_the_same_question_about_another_picture_is_saved_as_that(
    openai_server, chat, said, folder
):
    with Sessions(folder / "sessions.sqlite") as sessions:
        chat.keeper = Keeper(sessions, pytest.fail)
        run_command(chat, "/attach red.png")
        respond(chat, "What is this?", Silent())
        run_command(chat, "/attach blue.png")
        run_command(chat, "/edit")
        respond(chat, "What is this?", Silent())  # and the answer is the same, too
        (question, _) = sessions.read(chat.keeper.session).messages
        assert [picture.name for picture in question.pictures] == ["red.png", "blue.png"]


def test_exports_name_the_pictures_or_hold_them(openai_server, chat, said, folder):
    ask(chat, "What is @red.png?")
    run_command(chat, "/save talk.md")
    assert "\n\n[picture: red.png, 8x6 pixels]\n\nWhat is @red.png?\n\n" in Path(
        "talk.md"
    ).read_text(encoding="utf-8")
    run_command(chat, "/save talk.json")
    body = json.loads(Path("talk.json").read_text(encoding="utf-8"))
    assert pictures_of(body["messages"][0]["content"]) == [RED]
