"""Text files go with a question; what is no text is refused by name."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import NotFoundError, UsageError
from mlm.repl.attachment import Attachment, read_attachments


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


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff\xe0", b"RIFF____WEBP"])
def test_an_image_is_refused_as_one(tmp_path: Path, magic: bytes):
    data = magic + bytes(2 * 1024**2)
    with pytest.raises(UsageError, match=r"cat\.png is an image .* takes no images yet"):
        read_attachments(write(tmp_path / "cat.png", data))


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
