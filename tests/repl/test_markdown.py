"""A Markdown stream gives away what is finished, once, in order, however it was cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlm.repl.markdown import Code, MarkdownStream, Part, Prose
from mlm.repl.rendering import render, wrap_rows

PAGE = """# Title

A paragraph with **bold** text
on two lines.

- one
- two
  more of two

  ```sh
  ls
  ```
- three

1. first
2. second

> a quote
> of two lines

```python
def f():
    return "x"

# after an empty line
```

| a | b |
|---|---|
| 1 | 2 |

The end.
"""


def drawn(parts: list[Part], *, is_first: bool = True) -> list[str]:
    return ["".join(t for _, t in line).rstrip() for line in render(parts, 60, is_first=is_first)]


def stream_in(pieces: list[str]) -> list[str]:
    stream, lines = MarkdownStream(), []
    for piece in pieces:
        stream.feed(piece)
        lines += drawn(stream.take(), is_first=not lines)
    return lines + drawn(stream.rest(), is_first=not lines)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(PAGE)), max_size=60))
def test_a_page_looks_the_same_however_it_was_cut(cuts: list[int]):
    edges = [0, *sorted(cuts), len(PAGE)]
    pieces = [PAGE[a:b] for a, b in pairwise(edges)]
    assert stream_in(pieces) == stream_in([PAGE])


def test_a_page_looks_the_same_character_by_character():
    assert stream_in(list(PAGE)) == stream_in([PAGE])


def test_the_page_has_everything_in_its_place():
    assert stream_in([PAGE]) == [
        "Title",
        "",
        "A paragraph with bold text",
        "on two lines.",
        "",
        " • one",
        " • two",
        "   more of two",
        "     ls",
        " • three",
        "",
        " 1. first",
        " 2. second",
        "",
        "▌ a quote",
        "▌ of two lines",
        "",
        "  def f():",
        '      return "x"',
        "",
        "  # after an empty line",
        "",
        " a  b",
        " ────",
        " 1  2",
        "",
        "The end.",
    ]


def test_a_block_is_finished_when_the_next_begins():
    stream = MarkdownStream()
    stream.feed("One.\n\n")
    assert stream.take() == []
    stream.feed("Two")
    assert stream.take() == [Prose("One.\n\n")]
    assert stream.rest() == [Prose("Two")]


def test_lines_of_code_are_finished_one_by_one():
    stream = MarkdownStream()
    stream.feed("```py\na\nb")
    assert stream.take() == [Code("py", ("a",))]
    assert stream.rest() == [Code("py", ("a", "b"), start=1, joined=True)]
    stream.feed("\n```\nafter")
    assert stream.take() == [Code("py", ("a", "b"), start=1, joined=True)]
    assert stream.rest() == [Prose("after")]


def test_items_of_a_list_are_finished_one_by_one():
    stream = MarkdownStream()
    stream.feed("1. a\n2. b\n3. c")
    assert stream.take() == [Prose("1. a\n"), Prose("2. b\n", joined=True)]
    assert stream.rest() == [Prose("3. c", joined=True)]


@pytest.mark.parametrize(
    ("fence", "inside"),
    [("````", "```"), ("~~~", "```"), ("```", "~~~"), ("```", "    ```"), ("```", "```py")],
)
def test_code_ends_only_with_its_own_mark(fence: str, inside: str):
    assert drawn_all(f"{fence}\n{inside}\nx\n{fence}\nafter") == [f"  {inside}", "  x", "", "after"]


def drawn_all(source: str) -> list[str]:
    return stream_in([source])


def test_html_and_definitions_are_shown_as_they_are():
    assert drawn_all("A List<String> and <b>b</b>") == ["A List<String> and <b>b</b>"]
    assert drawn_all("see [1]\n\n[1]: http://a.b") == ["see [1]", "", "[1]: http://a.b"]


def test_links_and_images_show_where_they_lead():
    assert drawn_all("[here](http://a.b) ![cat](c.png) <http://d.e>") == [
        "here (http://a.b) cat (c.png) http://d.e"
    ]


def test_characters_written_as_entities_cannot_command_the_terminal():
    assert drawn_all("a&#27;[31mb&#8238;c&#x202e;d") == ["a\ufffd[31mbcd"]


@pytest.mark.parametrize("width", [1, 10, 23, 40, 200])
def test_no_line_is_wider_than_the_terminal(width: int):
    from prompt_toolkit.utils import get_cwidth

    wide = "日本語のとても長い文章です。 👍 emoji " * 10
    parts: list[Part] = [
        Prose(f"{wide}\n\n- {wide}\n\n> {wide}\n\n|a|b|\n|-|-|\n|{wide}|{wide}|\n\n1. {wide}"),
        Code("python", (f"x = '{wide}'",)),
    ]
    for line in render(parts, width, is_first=True):
        assert sum(get_cwidth(text) for _, text in line) <= max(width, 10)


def test_nothing_of_a_table_is_cut_off():
    address = "https://example.org/" + "path/" * 20
    lines = drawn_all(f"| where | what |\n|---|---|\n| {address} | `{'x' * 90}` |\n")
    cells = [(line[:30].strip(), line[30:].strip()) for line in lines[2:]]
    assert "".join(where for where, _ in cells) == address
    assert "".join(what for _, what in cells) == "x" * 90


def test_a_language_that_nobody_knows_is_no_problem():
    assert drawn_all("```\u00fcber{.x}\ncode\n```") == ["  code"]


def test_a_line_separator_is_no_end_of_a_line():
    assert drawn_all("```\na\u2028b\n```\n\nc\u2028d\n\ne")[0] == "  a\u2028b"


def test_rows_of_a_table_that_are_too_long_go_on_below_their_second_column():
    undo = "/undo [N]  take back the last turn, or the last N"
    table = f"{undo}\n\n日本  all is as well as it was here"
    assert wrap_rows(table, 36) == [
        "/undo [N]  take back the last turn,",
        "           or the last N",
        "",
        "日本  all is as well as it was here",
    ]
    assert wrap_rows(table, 34)[-1] == "      here"
    assert wrap_rows(table, 30)[:3] == [
        "/undo [N]  take back the last",
        "    turn, or the last N",
        "",
    ]
    assert wrap_rows("A sentence of one column only", 20) == ["A sentence of one", "column only"]
