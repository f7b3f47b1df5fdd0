import pytest

from mlm.engine.marks import Marks


def picture(data: bytes) -> dict[str, object]:
    return {"type": "image", "data": data}


def text(said: str) -> dict[str, object]:
    return {"type": "text", "text": said}


def mark(marks: Marks) -> str:
    """Put a picture in and return its mark."""
    (message,) = marks.put([{"role": "user", "content": [picture(b"cat")]}])
    return str(message["content"])


def test_pictures_are_found_again_where_they_were():
    marks = Marks()
    messages = marks.put(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [picture(b"cat"), text("and"), picture(b"dog")]},
        ]
    )
    assert messages[0] == {"role": "system", "content": "be kind"}
    assert marks.files == [b"cat", b"dog"]
    assert marks.split(f"be kind {messages[1]['content']}!") == ["be kind ", 0, "and", 1, "!"]


def test_a_line_break_stands_between_texts_and_none_beside_a_picture():
    marks = Marks()
    parts = [text("a"), text("b"), picture(b"cat"), text("c"), text("d")]
    (message,) = marks.put([{"role": "user", "content": parts}])
    assert marks.split(message["content"]) == ["a\nb", 0, "c\nd"]


def test_what_looks_like_a_mark_is_text():
    marks = Marks()
    said = f"<picture 0000000000000000 0> {mark(marks)} <picture 0>"
    assert marks.split(said) == ["<picture 0000000000000000 0> ", 0, " <picture 0>"]


@pytest.mark.parametrize("template", ["nothing", "{0} {0}"])
def test_a_template_that_drops_a_picture_or_shows_it_twice_is_refused(template: str):
    marks = Marks()
    text = template.format(mark(marks))
    with pytest.raises(ValueError, match="no place for these pictures"):
        marks.split(text)


def test_whatever_else_a_content_holds_stays_as_it_is():
    for part in (1, {"type": "image"}, {"type": "image", "data": "text"}, [], None):
        odd = [{"role": "user", "content": [part, text("a")]}]
        assert Marks().put(odd) == odd
        beside = [{"role": "user", "content": [part, picture(b"cat")]}]
        assert Marks().put(beside) == beside
