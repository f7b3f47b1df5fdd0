import pytest

from mlm.engine.marks import Marks


def picture(data: bytes) -> dict[str, object]:
    return {"type": "image", "data": data}


def text(said: str) -> dict[str, object]:
    return {"type": "text", "text": said}


def test_pictures_are_found_again_where_they_were():
    marks = Marks()
    messages = marks.put(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [picture(b"cat"), text("and"), picture(b"dog")]},
        ]
    )
    assert messages[0] == {"role": "system", "content": "be kind"}
    parts = messages[1]["content"]
    assert marks.files == [b"cat", b"dog"]
    said = f"be kind {parts[0]['text']} {parts[1]['text']} {parts[2]['text']}!"
    assert marks.split(said) == ["be kind ", 0, " and ", 1, "!"]


def test_what_looks_like_a_mark_is_text():
    marks = Marks()
    (message,) = marks.put([{"role": "user", "content": [picture(b"cat")]}])
    mark = message["content"][0]["text"]
    said = f"<picture 0000000000000000 0> {mark} <picture 0>"
    assert marks.split(said) == ["<picture 0000000000000000 0> ", 0, " <picture 0>"]


@pytest.mark.parametrize("template", ["nothing", "{0} {0}"])
def test_a_template_that_drops_a_picture_or_shows_it_twice_is_refused(template: str):
    marks = Marks()
    (message,) = marks.put([{"role": "user", "content": [picture(b"cat")]}])
    with pytest.raises(ValueError, match="no place for these pictures"):
        marks.split(template.format(message["content"][0]["text"]))


def test_whatever_else_a_content_holds_stays_as_it_is():
    odd = [{"role": "user", "content": [1, {"type": "image"}, {"type": "image", "data": "text"}]}]
    marks = Marks()
    assert (marks.put(odd), marks.files) == (odd, [])
