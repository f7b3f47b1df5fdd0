"""Saved conversations are found from within a chat, and go on there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlm.errors import NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.commands import run_command
from mlm.repl.keeper import Keeper
from mlm.sessions.store import Sessions
from mlm.sessions.types import Message, Summary


@pytest.fixture
def sessions(chat: Chat, tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as opened:
        chat.keeper = Keeper(opened, pytest.fail)
        yield opened


def begin(sessions: Sessions, title: str, *texts: str) -> Summary:
    messages = [Message(("user", "assistant")[i % 2], text, 1.0) for i, text in enumerate(texts)]
    return sessions.begin(messages, title=title, model="small", ref="small")


def test_conversations_are_listed_by_title(chat, sessions):
    assert "No conversation" in run_command(chat, "/sessions")
    cats = begin(sessions, "About cats", "Cats?", "They purr")
    dogs = begin(sessions, "About dogs", "Dogs?", "They bark")
    lines = run_command(chat, "/sessions").splitlines()
    assert [line.split()[0] for line in lines] == [dogs.id, cats.id]
    assert run_command(chat, "/sessions CATS about").startswith(cats.id)


def test_what_was_said_is_found(chat, sessions):
    cats = begin(sessions, "About cats", "Cats?", "They purr")
    assert run_command(chat, "/search purr").startswith(f"{cats.id}  About cats")
    assert "They **purr**" in run_command(chat, "/search purr")
    assert run_command(chat, '/search "(') == "Nothing was found."
    with pytest.raises(UsageError):
        run_command(chat, "/search")


def test_a_loaded_conversation_goes_on_and_the_one_before_stays(openai_server, chat, sessions):
    cats = begin(sessions, "About cats", "Cats?", "They purr")
    "".join(delta.text for delta in chat.ask("Hi"))
    chat.keep()
    assert run_command(chat, f"/load {cats.id[:6]}") == sessions.read(cats)
    "".join(delta.text for delta in chat.ask("And?"))
    chat.keep()
    texts = [[m.text for m in sessions.read(known).messages] for known in sessions.summaries()]
    assert texts == [["Cats?", "They purr", "And?", "Hello there"], ["Hi", "Hello there"]]
    with pytest.raises(NotFoundError) as caught:
        run_command(chat, "/load nonsense")
    assert caught.value.remedy == "/sessions lists them"
    with pytest.raises(UsageError):
        run_command(chat, "/load")


def test_clear_leaves_what_was_said_saved(chat, sessions):
    "".join(delta.text for delta in chat.ask("Hi"))
    chat.keep()
    assert f"/load {sessions.summaries()[0].id}" in run_command(chat, "/clear")
    chat.keep()
    assert [known.title for known in sessions.summaries()] == ["Hi"]


def test_a_page_says_who_gave_each_answer(chat, sessions, tmp_path):
    run_command(chat, f"/load {begin(sessions, 'About cats', 'Cats?', 'They purr').id}")
    chat.model = "small"
    for question in ("Why?", "And how?"):
        "".join(delta.text for delta in chat.ask(question))
        chat.keep()
        chat.model = "tiny"
    run_command(chat, f"/save {tmp_path}/cats.md")
    page = (tmp_path / "cats.md").read_text()
    assert page.startswith("# About cats\n\n*A conversation with tiny*\n")
    answers = [line for line in page.split("\n") if line.startswith("## Answer")]
    assert answers == ["## Answer", "## Answer by small", "## Answer"]


def test_a_chat_that_saves_nothing_may_look(chat, sessions):
    chat.keeper = Keeper(sessions, pytest.fail, is_saving=False)
    cats = begin(sessions, "About cats", "Cats?", "They purr")
    run_command(chat, f"/load {cats.id}")
    "".join(delta.text for delta in chat.ask("And?"))
    chat.keep()
    assert sessions.latest() == cats
