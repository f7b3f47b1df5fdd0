"""Conversations are kept whole, found again, and never lost."""

import os
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mlm.errors import ConflictError, DiskSpaceError, NotFoundError
from mlm.sessions.rows import read_messages
from mlm.sessions.store import MovedOnError, Sessions
from mlm.sessions.types import Message, Picture, Query, Summary

HI = Message("user", "Hi", 10.0, model="tiny")
HELLO = Message(
    "assistant", "Hello there", 11.0, model="tiny", thinking="greet", figures={"ttft_s": 0.25}
)
MORE = (
    Message("user", "And?", 12.0),
    Message("assistant", "Well", 13.0, stopped=True, pinned=True),
)


PICTURE = Picture("red.png", 8, 6, b"a red picture" * 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new-folder" / "sessions.sqlite"


@pytest.fixture
def asides() -> list[Path]:
    """Where damaged files went."""
    return []


@pytest.fixture
def sessions(path: Path, asides: list[Path]) -> Iterator[Sessions]:
    with Sessions(path, wait_s=0.1, on_put_aside=asides.append) as opened:
        yield opened


def begin(sessions: Sessions, *messages: Message, title: str = "Hi") -> Summary:
    return sessions.begin(messages or (HI, HELLO), title=title, model="tiny", ref="tiny:Q8_0")


def texts(sessions: Sessions, known: Summary) -> list[str]:
    return [message.text for message in sessions.read(known).messages]


def test_pictures_come_back_with_their_question(sessions):
    blue = replace(PICTURE, name="blue.png", data=b"a blue picture")
    seen = replace(HI, pictures=(PICTURE, blue))
    known = begin(sessions, HI, HELLO, seen, HELLO)
    assert sessions.read(known).messages == (HI, HELLO, seen, HELLO)
    other = begin(sessions, replace(HI, pictures=(blue,)))
    known = sessions.write(known, (seen, HELLO), after=0)
    assert sessions.read(known).messages == (seen, HELLO)
    assert sessions.read(other).messages[0].pictures == (blue,)


def test_pictures_that_were_taken_back_or_removed_are_in_no_page_of_the_file(sessions, path):
    known = begin(sessions, replace(HI, pictures=(PICTURE,)), HELLO)
    kept = begin(sessions, replace(HI, pictures=(replace(PICTURE, data=b"to be kept"),)))
    sessions.write(known, (HI, HELLO), after=0)
    assert sessions.read(sessions.find(known.id)).messages == (HI, HELLO)
    begin(sessions, replace(HI, pictures=(PICTURE,)))
    sessions.remove([known.id, sessions.latest().id])
    sessions.close()
    assert b"a red picture" not in path.read_bytes()
    assert sessions.read(kept).messages[0].pictures[0].data == b"to be kept"


def make_as_before_pictures(path: Path, sessions: Sessions) -> Summary:
    """Leave a file as mlm made it that knew no pictures."""
    known = begin(sessions)
    sessions.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TRIGGER message_hidden")
        database.execute("DROP TABLE pictures")
        database.commit()
    return known


def test_a_file_of_before_pictures_keeps_all_and_takes_some(sessions, path):
    known = make_as_before_pictures(path, sessions)
    assert sessions.read(known).messages == (HI, HELLO)
    seen = replace(HI, pictures=(PICTURE,))
    sessions.write(known, (seen,), after=2)
    assert sessions.read(known).messages == (HI, HELLO, seen)


def test_a_file_of_before_pictures_that_may_not_be_written_is_read(sessions, path):
    known = make_as_before_pictures(path, sessions)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        assert read_messages(database, known.id) == (HI, HELLO)


def test_an_mlm_that_knows_no_pictures_removes_them_with_their_messages(sessions, path):
    known = begin(sessions, replace(HI, pictures=(PICTURE,)), HELLO)
    sessions.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        database.execute("DELETE FROM messages WHERE session = ?", (known.id,))
        database.commit()
        assert database.execute("SELECT count(*) FROM pictures").fetchone() == (0,)


def test_a_conversation_comes_back_as_it_was_said(sessions, path):
    known = begin(sessions)
    known = sessions.write(known, MORE, after=2)
    sessions.close()
    with Sessions(path) as again:
        session = again.read(again.latest())
    assert session.messages == (HI, HELLO, *MORE)
    found = session.summary
    assert (found.title, found.model, found.ref) == ("Hi", "tiny", "tiny:Q8_0")
    assert (found.created_at, found.updated_at, found.n_messages) == (10.0, 13.0, 4)


def test_reading_makes_no_file(sessions, path):
    assert sessions.latest() is None
    assert sessions.summaries() == []
    assert sessions.search(Query("anything")) == []
    with pytest.raises(NotFoundError):
        sessions.find("ab")
    assert not path.parent.exists()


def test_only_its_owner_may_read_the_file(sessions, path):
    begin(sessions)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_what_was_undone_is_written_over(sessions):
    known = sessions.write(begin(sessions), MORE, after=2)
    known = sessions.write(known, (Message("user", "Instead?", 14.0),), after=2)
    assert texts(sessions, known) == ["Hi", "Hello there", "Instead?"]
    assert sessions.write(known, (), after=1).n_messages == 1
    assert sessions.search(Query("Hello")) == []


def test_an_id_may_be_shortened_as_long_as_it_means_one(sessions):
    known = [begin(sessions) for _ in range(20)]
    assert sessions.find(known[3].id.upper()).id == known[3].id
    assert sessions.find(known[3].id[:6]).id == known[3].id
    with pytest.raises(NotFoundError, match="begin with"):
        letters = [found.id[0] for found in known]
        sessions.find(max(letters, key=letters.count))
    with pytest.raises(NotFoundError) as caught:
        sessions.find(known[3].id[:-1] + "x")
    assert known[3].id in str(caught.value.remedy)
    with pytest.raises(NotFoundError):
        sessions.find("")


def test_the_last_written_is_the_latest_even_if_the_clock_went_back(sessions):
    first = begin(sessions)
    second = begin(sessions, replace(HI, at=5.0))
    assert [known.id for known in sessions.summaries()] == [second.id, first.id]
    sessions.write(first, (replace(HI, at=1.0),), after=2)
    assert sessions.latest().id == first.id
    assert [known.id for known in sessions.summaries(limit=1)] == [first.id]
    assert [known.id for known in sessions.summaries(before=3.0)] == [first.id]


def test_who_writes_last_does_not_write_over_the_other(sessions, path):
    known = begin(sessions)
    with Sessions(path) as other:
        other.write(known, (Message("user", "Mine", 20.0),), after=2)
    with pytest.raises(MovedOnError):
        sessions.write(known, (Message("user", "No, mine", 20.0),), after=2)
    assert texts(sessions, known) == ["Hi", "Hello there", "Mine"]
    sessions.remove([known.id])
    with pytest.raises(MovedOnError):
        sessions.write(known, MORE, after=2)


def test_a_new_title_does_not_count_as_a_change(sessions):
    known = begin(sessions)
    sessions.rename(known, "Greetings")
    assert sessions.write(known, MORE, after=2).title == "Greetings"


def test_what_is_removed_is_in_no_file_any_more(sessions, path):
    canary = "xylophonist"
    stays = begin(sessions)
    known = begin(sessions, Message("user", f"my {canary} is secret " * 2000, 1.0))
    sessions.remove([known.id])
    sessions.close()
    assert texts(sessions, stays) == ["Hi", "Hello there"]
    assert not [file for file in path.parent.iterdir() if canary.encode() in file.read_bytes()]
    assert path.stat().st_size < 60_000
    with pytest.raises(NotFoundError):
        sessions.read(known)


def test_text_that_no_encoding_has_and_control_characters_are_kept_as_far_as_they_can_be(sessions):
    known = begin(sessions, Message("user", "half \ud83d of \x00 a \x1b[2J pair", 1.0))
    assert texts(sessions, known) == ["half ? of \x00 a \x1b[2J pair"]
    assert len(sessions.search(Query("\ud83d pair"))) == 1
    assert len(sessions.search(Query("half pair"))) == 1


def test_a_damaged_file_is_put_aside_and_never_deleted(sessions, path, asides):
    begin(sessions)
    sessions.close()
    for _ in range(2):
        path.write_bytes(b"not a database" * 1000)
        assert begin(sessions).title == "Hi"
        assert len(sessions.summaries()) == 1
        sessions.close()
        assert asides[-1].read_bytes().startswith(b"not a database")
    assert len(list(path.parent.glob("*.broken*"))) == 2


def test_random_damage_costs_no_traceback_and_leaves_the_bytes(sessions, path):
    for i in range(40):
        begin(sessions, *(replace(HI, text=f"word{i} " * 50) for _ in range(10)))
    sessions.close()
    sound = path.read_bytes()
    dice = random.Random(7)
    for _ in range(30):
        damaged = bytearray(sound)
        for _ in range(10):
            start = dice.randrange(0, len(damaged) - 200)
            damaged[start : start + 200] = dice.randbytes(200)
        path.write_bytes(damaged)
        before = {file.name for file in path.parent.iterdir()}
        with Sessions(path, wait_s=0.1) as fresh:
            for _ in range(3):  # met while reading it is an error, then it is put aside
                try:
                    fresh.search(Query("word7"))
                    [fresh.read(known) for known in fresh.summaries()]
                    begin(fresh)
                except ConflictError:
                    continue
                except Exception as error:
                    assert type(error).__name__ == "IntegrityError"
            assert begin(fresh)
        after = {file.name for file in path.parent.iterdir()}
        assert before <= after


def test_a_damaged_index_of_words_is_made_anew(sessions, path):
    begin(sessions)
    sessions.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM words_data WHERE id > 10")
        database.commit()
    assert [hit.position for hit in sessions.search(Query("hello"))] == [1]
    assert len(begin(sessions).id) == 8


def test_a_file_of_a_newer_mlm_is_left_alone(sessions, path):
    begin(sessions)
    sessions.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(ConflictError, match="newer mlm") as caught:
        sessions.summaries()
    assert "update mlm" in str(caught.value.remedy)
    assert [file.name for file in path.parent.glob("*broken*")] == []


def test_a_file_that_is_locked_says_so(sessions, path):
    known = begin(sessions)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert texts(sessions, known) == ["Hi", "Hello there"]  # readers do not mind
        with pytest.raises(ConflictError, match="locked"):
            begin(sessions)
        other.execute("ROLLBACK")
    begin(sessions)


def test_a_home_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with Sessions(tmp_path / "file" / "sessions.sqlite") as sessions:
        assert sessions.summaries() == []
        with pytest.raises(ConflictError, match="cannot use"):
            begin(sessions)
    (tmp_path / "folder").mkdir()
    with (
        Sessions(tmp_path / "folder") as sessions,
        pytest.raises(ConflictError, match="cannot use"),
    ):
        sessions.summaries()


def test_a_full_disk_loses_nothing_that_was_written(sessions, path):
    known = begin(sessions)
    pages = sessions._db.execute("PRAGMA page_count").fetchone()[0]
    sessions._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskSpaceError, match="full"):
        sessions.write(known, (replace(HELLO, text="long " * 10_000),), after=2)
    assert texts(sessions, known) == ["Hi", "Hello there"]
    sessions._db.execute("PRAGMA max_page_count = 100000")
    sessions.write(known, MORE, after=2)
    assert len(texts(sessions, known)) == 4


def test_many_writers_at_once_lose_nothing(path):
    def write_some() -> None:
        with Sessions(path, wait_s=30) as mine:
            known = begin(mine)
            for i in range(10):
                known = mine.write(known, (replace(HI, text=f"turn {i}"),), after=2 + i)

    threads = [threading.Thread(target=write_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with Sessions(path) as sessions:
        assert [known.n_messages for known in sessions.summaries()] == [12] * 4


def test_who_is_killed_while_writing_leaves_whole_turns(path, asides):
    writing = textwrap.dedent("""
        import sys
        from pathlib import Path
        from mlm.sessions.store import Sessions
        from mlm.sessions.types import Message

        turn = [Message("user", "q" * 3000, 1.0), Message("assistant", "a" * 3000, 2.0)]
        with Sessions(Path(sys.argv[1])) as sessions:
            known, n = sessions.begin(turn, title="t", model="m", ref="m"), 2
            while True:
                print(n, flush=True)
                known, n = sessions.write(known, turn, after=n), n + 2
    """)
    dice = random.Random(1)
    for _ in range(5):
        command = [sys.executable, "-c", writing, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as child:
            for _ in range(dice.randrange(1, 40)):
                written = int(child.stdout.readline())
            child.kill()
            written = max([written, *(int(line) for line in child.stdout if line.strip())])
        with Sessions(path, on_put_aside=asides.append) as sessions:
            session = sessions.read(sessions.latest())
        assert asides == []
        assert len(session.messages) == session.summary.n_messages
        assert session.summary.n_messages in (written, written + 2)
        assert [message.text[0] for message in session.messages[-2:]] == ["q", "a"]
