"""A chat is saved as it grows, whatever happens to the file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlm.repl.chat import Chat
from mlm.repl.conversation import Conversation, Turn
from mlm.repl.keeper import Keeper
from mlm.sessions.store import Sessions
from mlm.sessions.types import Query


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite"


@pytest.fixture
def said() -> list[str]:
    """What the person was told."""
    return []


@pytest.fixture
def keeper(path: Path, said: list[str]) -> Iterator[Keeper]:
    with Sessions(path, wait_s=0.05) as sessions:
        yield Keeper(sessions, said.append, {"tiny": "/models/tiny.gguf"})


def talk(*turns: tuple[str, str], system: str | None = None) -> Conversation:
    return Conversation(system, tuple(Turn(*turn) for turn in turns))


def saved(path: Path) -> list[list[str]]:
    """The texts of all conversations, last written first."""
    with Sessions(path) as sessions:
        found = [sessions.read(known) for known in sessions.summaries()]
    return [[message.text for message in session.messages] for session in found]


ONE, TWO, OTHER = ("Hi", "Hello"), ("And?", "Well"), ("Instead?", "Yes")


def test_a_chat_in_which_nothing_was_asked_leaves_no_file(keeper, path):
    keeper.keep(Conversation("Be brief."), "tiny")
    assert not path.exists()


def test_each_turn_is_added(keeper, path):
    keeper.keep(talk(ONE, system="Be brief."), "tiny")
    keeper.keep(talk(ONE, TWO, system="Be brief."), "tiny")
    assert saved(path) == [["Be brief.", *ONE, *TWO]]
    assert keeper.session.title == "Hi"
    assert (keeper.session.model, keeper.session.ref) == ("tiny", "/models/tiny.gguf")


def test_nothing_new_writes_nothing(keeper):
    keeper.keep(talk(ONE), "tiny")
    revision = keeper.session.revision
    keeper.keep(talk(ONE), "tiny")
    assert keeper.session.revision == revision


def test_undone_and_changed_turns_are_written_over_and_times_stay(keeper, path):
    keeper.keep(talk(ONE, TWO), "tiny")
    first = keeper.sessions.read(keeper.session).messages[0]
    keeper.keep(talk(ONE, OTHER), "small")
    assert saved(path) == [[*ONE, *OTHER]]
    messages = keeper.sessions.read(keeper.session).messages
    assert messages[0] == first
    assert [message.model for message in messages] == ["tiny", "tiny", "small", "small"]
    assert keeper.session.ref == "small"


def test_a_conversation_that_was_taken_back_wholly_is_gone(keeper, path):
    keeper.keep(talk(ONE), "tiny")
    keeper.keep(talk(), "tiny")
    assert saved(path) == []
    keeper.keep(talk(TWO), "tiny")
    assert saved(path) == [[*TWO]]


def test_taking_it_back_deletes_nothing_of_what_another_added(keeper, path, said):
    keeper.keep(talk(ONE), "tiny")
    with Sessions(path) as sessions:
        other = Keeper(sessions, said.append)
        other.go_on(sessions.read(keeper.session))
        other.keep(talk(ONE, OTHER), "tiny")
    keeper.keep(talk(), "tiny")
    assert saved(path) == [[*ONE, *OTHER]]
    keeper.keep(talk(TWO), "tiny")
    assert saved(path) == [[*TWO], [*ONE, *OTHER]]


def test_pins_and_what_was_typed_come_back(keeper):
    turn = Turn("file.txt: x\n\nWhat is it?", "A file", pinned=True, typed="What is it?")
    keeper.keep(Conversation(None, (turn,)), "tiny")
    assert keeper.session.title == "What is it?"
    assert keeper.go_on(keeper.sessions.read(keeper.session)).turns == (turn,)


def test_what_is_no_longer_sent_stays_saved(keeper, path):
    keeper.keep(talk(ONE, TWO).leaving_out(1, "They greeted."), "tiny")
    assert saved(path) == [[*ONE, *TWO]]


def test_a_chat_that_was_cleared_leaves_what_was_said(keeper, path):
    keeper.keep(talk(ONE), "tiny")
    keeper.begin_anew()
    keeper.keep(talk(), "tiny")
    keeper.keep(talk(TWO), "tiny")
    assert saved(path) == [[*TWO], [*ONE]]


def test_a_saved_conversation_goes_on_where_it_was(keeper, path, said):
    keeper.keep(talk(ONE, ("Stop", "H"), system="Be brief."), "tiny")
    session = keeper.sessions.read(keeper.session)
    again = Keeper(keeper.sessions, said.append)
    conversation = again.go_on(session)
    assert conversation == talk(ONE, ("Stop", "H"), system="Be brief.")
    again.keep(conversation.with_turn(Turn(*TWO)), "tiny")
    assert saved(path) == [["Be brief.", *ONE, "Stop", "H", *TWO]]
    assert said == []


def test_of_two_chats_on_one_conversation_the_second_gets_a_copy(keeper, path, said):
    keeper.keep(talk(ONE), "tiny")
    with Sessions(path) as sessions:
        other = Keeper(sessions, said.append)
        other.go_on(sessions.read(keeper.session))
        keeper.keep(talk(ONE, TWO), "tiny")
        other.keep(talk(ONE, OTHER), "tiny")
        other.keep(talk(ONE, OTHER, OTHER), "tiny")
        keeper.keep(talk(ONE, TWO, TWO), "tiny")
        assert saved(path) == [[*ONE, *TWO, *TWO], [*ONE, *OTHER, *OTHER]]
        assert other.session.forked_from == keeper.session.id
        assert other.session.title == "Hi"
    assert len(said) == 1
    assert keeper.session.id in said[0]
    assert other.session.id in said[0]


def test_what_was_removed_meanwhile_is_saved_again_and_said(keeper, path, said):
    keeper.keep(talk(ONE), "tiny")
    keeper.sessions.remove([keeper.session.id])
    keeper.keep(talk(ONE, TWO), "tiny")
    assert saved(path) == [[*ONE, *TWO]]
    assert len(said) == 1


def test_a_failure_is_said_once_and_made_good_later(keeper, path, said):
    keeper.keep(talk(ONE), "tiny")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        keeper.keep(talk(ONE, TWO), "tiny")
        keeper.keep(talk(ONE, TWO, OTHER), "tiny")
        assert len(said) == 1
        assert "locked" in said[0]
        other.execute("ROLLBACK")
    keeper.keep(talk(ONE, TWO, OTHER, ONE), "tiny")
    assert saved(path) == [[*ONE, *TWO, *OTHER, *ONE]]
    assert len(said) == 2
    keeper.keep(talk(ONE, TWO, OTHER, ONE, TWO), "tiny")
    assert len(said) == 2


def test_a_home_that_cannot_be_written_does_not_disturb(tmp_path, said):
    (tmp_path / "file").write_text("")
    with Sessions(tmp_path / "file" / "sessions.sqlite") as sessions:
        keeper = Keeper(sessions, said.append)
        keeper.keep(talk(ONE), "tiny")
        keeper.keep(talk(ONE, TWO), "tiny")
    assert len(said) == 1
    assert "Not saved" in said[0]


def test_a_file_that_is_damaged_meanwhile_costs_nothing_of_this_chat(keeper, path):
    keeper.keep(talk(ONE), "tiny")
    keeper.sessions.close()
    path.write_bytes(b"garbage" * 1000)
    keeper.keep(talk(ONE, TWO), "tiny")
    assert saved(path) == [[*ONE, *TWO]]
    assert len(list(path.parent.glob("*.broken*"))) == 1


def test_an_answer_is_saved_with_its_figures(keeper, chat: Chat):
    "".join(delta.text for delta in chat.ask("Hi"))
    keeper.keep(chat.conversation, chat.model, chat.answers[-1])
    question, answer = keeper.sessions.read(keeper.session).messages
    assert question.figures == {}
    assert answer.figures["prompt_tokens"] == 40
    assert answer.figures["completion_tokens"] == 2
    assert answer.figures["ttft_s"] > 0


def test_what_is_saved_is_found(keeper):
    keeper.keep(talk(ONE, TWO), "tiny")
    assert [hit.position for hit in keeper.sessions.search(Query("hello"))] == [1]
