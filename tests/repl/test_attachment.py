"""Text files go with a question; what is no text is refused by name."""

import os
from pathlib import Path

import pytest
from fakes.picture_files import png
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import NotFoundError, UsageError
from mlm.repl import attachment
from mlm.repl.attachment import Attachment, TakesNoPictures
from mlm.sessions.types import Picture


def read_attachments(given: str, *, sees: bool = True) -> list[Attachment]:
    return attachment.read_attachments(given, lambda: sees)


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_a_file_stands_between_fences_under_its_name():
    assert Attachment("src/a.py", "x = 1\n").fenced == "src/a.py:\n```py\nx = 1\n```"
    assert Attachment("LICENSE", "").fenced == "LICENSE:\n```\n```"


@given(st.text(alphabet="`~a\n", max_size=60))
def test_nothing_in_a_file_ends_its_fence(text: str):
    _, opening, *inside, closing = Attachment("a.md", text).fenced.split("\n")
    assert opening.removesuffix("md") == closing
    assert not any(line.strip().startswith(closing) for line in inside)


def test_bytes_that_are_not_utf_8_are_replaced_and_that_is_said(tmp_path: Path):
    (read,) = read_attachments(
        write(
            tmp_path / "a.txt",
            "Gr\u00fc\u00dfe aus K\u00f6ln und ganz viel anderem Text".encode("latin-1"),
        ),
    )
    assert read.text.startswith("Gr\ufffd\ufffde")
    assert read.remark.startswith("not all UTF-8 (byte 2 …): 3 U+FFFD")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_says_how_to_read(tmp_path: Path, encoding: str):
    (read,) = read_attachments(write(tmp_path / "a.txt", "Grüße".encode(encoding)))
    assert (read.text, read.remark) == ("Grüße", "")


@pytest.mark.parametrize("data", [b"\x7fELF\0\0\1", b"a\0b"])
def test_a_binary_file_is_refused_by_name(tmp_path: Path, data: bytes):
    with pytest.raises(UsageError, match=r"program is binary"):
        read_attachments(write(tmp_path / "program", data))


def test_a_pdf_comes_with_what_makes_text_of_it(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        read_attachments(write(tmp_path / "paper.pdf", b"%PDF-1.7\n\0\0"))
    assert "pdftotext" in str(caught.value.remedy)


def test_a_picture_is_one_whatever_it_is_called(tmp_path: Path):
    name = write(tmp_path / "cat.txt", png(7, 5))
    (read,) = read_attachments(name)
    assert read.picture == Picture(name, 7, 5, png(7, 5))
    with pytest.raises(TakesNoPictures, match=r"cat\.txt is a picture, and this model takes no"):
        read_attachments(name, sees=False)


@pytest.mark.parametrize(
    ("data", "kind"), [(b"II*\0\x08", "TIFF"), (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC or AVIF")]
)
def test_a_picture_of_another_kind_is_refused_as_one(tmp_path: Path, data: bytes, kind: str):
    with pytest.raises(UsageError, match=rf"cat\.jpg is a picture \({kind}\), not text") as caught:
        read_attachments(write(tmp_path / "cat.jpg", data))
    assert "convert" in str(caught.value.remedy)


def test_what_is_too_large_or_not_there_or_no_file_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_attachments(write(tmp_path / "big.txt", b"x" * (1024**2 + 1)))
    with pytest.raises(NotFoundError, match="is not there"):
        read_attachments(str(tmp_path / "nothing.txt"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):  # and does not wait for it
        read_attachments(str(tmp_path / "pipe"))


def test_a_folder_gives_its_text_files(tmp_path: Path):
    for name, data in {"b.md": b"B", "a.py": b"A", ".secret": b"S", "x.bin": b"\0"}.items():
        write(tmp_path / name, data)
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "deeper" / "c.md", b"C")
    read = read_attachments(str(tmp_path))
    assert [file.text for file in read] == ["A", "B"]
    assert read[0].remark == "left out as no text: x.bin"
    deep = read_attachments(f"{tmp_path}/**/*.md")
    assert sorted(file.text for file in deep) == ["B", "C"]


def test_a_folder_gives_its_pictures_to_a_model_that_takes_them(tmp_path: Path):
    for name, data in {"a.md": b"A", "b.png": png(), "c.jpg": b"\xff\xd8\xff broken"}.items():
        write(tmp_path / name, data)
    text, picture = read_attachments(str(tmp_path))
    assert (text.text, text.remark) == ("A", "left out as neither text nor picture: c.jpg")
    assert picture.picture is not None
    (text,) = read_attachments(str(tmp_path), sees=False)
    assert text.remark == "left out as no text: b.png, c.jpg"


def test_a_folder_without_text_or_with_too_much_is_refused(tmp_path: Path):
    with pytest.raises(NotFoundError, match="holds no files"):
        read_attachments(str(tmp_path))
    write(tmp_path / "x.bin", b"\0")
    with pytest.raises(UsageError, match="no text files"):
        read_attachments(str(tmp_path))
    for number in range(65):
        write(tmp_path / f"{number}.txt", b"x")
    with pytest.raises(UsageError, match="66 files"):
        read_attachments(str(tmp_path))
