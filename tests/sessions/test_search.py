"""Whatever is typed finds the messages that hold it, and is never taken for a command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlm.errors import UsageError
from mlm.sessions.store import Sessions
from mlm.sessions.types import Message, Query

SAID = (
    "How do I sort a list in C++?",
    "Use std::sort; 100% of it is in <algorithm>.",
    "Quantización: the Modèle café",
    "今天天气怎么样?",
    'She said "no way" AND (then) left',
    "a_b and a\\b",
    "ends with the word memory",
)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as opened:
        roles = ("user", "assistant")
        messages = [
            Message(roles[i % 2], text, float(i), model="qwen3-8b" if i < 4 else "llama")
            for i, text in enumerate(SAID)
        ]
        opened.begin(messages, title="Everything", model="llama", ref="llama")
        yield opened


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("sort", [1, 0]),
        ("SORT list", [0]),
        ("c++", [0]),
        ("std::sort", [1]),
        ("100%", [1]),
        ("quantizacion cafe", [2]),
        ("mem", [6]),
        ("天气", [3]),
        ('"', [4]),
        ("AND (", [4]),
        ('"no way"', [4]),
        ('"way no"', []),
        ("NOT no", []),
        ("NEAR(a b)", []),
        ("text:sort", []),
        ("a_b", [5]),
        ("a\\b", [5]),
        ("*", []),
        ("'; DROP TABLE messages; --", []),
        ("%", [1]),
        ("^sort", []),
    ],
)
def test_words_are_found(sessions, words, found):
    assert [hit.position for hit in sessions.search(Query(words))] == found


@pytest.mark.parametrize("words", ["", "   ", '""'])
def test_nothing_finds_nothing_and_says_so(sessions, words):
    if words == '""':
        assert [hit.position for hit in sessions.search(Query(words))] == []
        return
    with pytest.raises(UsageError):
        sessions.search(Query(words))


def test_any_sign_may_be_looked_for(sessions):
    for code in (*range(0x20, 0x180), 0x2028, 0xFFFD, 0x1F600):
        for words in (chr(code), f"sort{chr(code)}", f'"{chr(code)}', f"{chr(code)}*"):
            if words.strip():
                sessions.search(Query(words))


def test_filters_narrow_it(sessions):
    assert [h.position for h in sessions.search(Query("sort", role="user"))] == [0]
    assert [h.position for h in sessions.search(Query("a", model="QWEN"))] == [1, 0]
    assert [h.position for h in sessions.search(Query("sort", since=1.0))] == [1]
    assert len(sessions.search(Query("a"), limit=1)) == 1


def test_what_was_found_is_marked(sessions):
    (hit,) = sessions.search(Query("memory"))
    assert hit.parts == ("ends with the word ", "memory", "")
    assert (hit.session.title, hit.role, hit.at) == ("Everything", "user", 6.0)
    (hit,) = sessions.search(Query("天气"))
    assert hit.parts == ("今天", "天气", "怎么样?")


def test_of_a_long_message_the_part_around_it_is_shown(sessions):
    long = "before " * 5000 + "needle ++ after " + "after " * 5000
    sessions.begin([Message("user", long, 1.0)], title="t", model="m", ref="m")
    for words in ("needle", "++"):
        (hit, *_) = sessions.search(Query(words))
        assert words in hit.parts[1]
        assert sum(map(len, hit.parts)) < 400
        assert hit.parts[0].startswith("…")
