import pytest

from mlm.pictures import from_data_uri, media_type, to_data_uri

PNG = b"\x89PNG\r\n\x1a\n rest"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0 rest", "image/jpeg"),
        (b"GIF89a rest", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"\x89PNG", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_kind(data: bytes, kind: str | None):
    assert media_type(data) == kind


def test_a_picture_survives_the_way_through_json():
    assert from_data_uri(to_data_uri(PNG)) == PNG


def test_what_a_uri_says_of_its_kind_is_not_believed():
    assert from_data_uri(to_data_uri(PNG).replace("image/png", "text/html;charset=utf-8")) == PNG


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("https://example.org/cat.png", "hold the picture itself"),
        ("file:///etc/passwd", "hold the picture itself"),
        ("data:image/png,plain", "hold the picture itself"),
        ("data:image/png;base64,%%%", "not base64"),
        ("data:image/png;base64,aGVsbG8=", "holds no"),
        ("data:image/png;base64,", "holds no"),
        ("data:" + ";a" * 200 + ";base64,R0lGODlh", "hold the picture itself"),
        ("", "hold the picture itself"),
    ],
)
def test_what_holds_no_picture_is_refused(uri: str, why: str):
    with pytest.raises(ValueError, match=why):
        from_data_uri(uri)


def test_what_is_no_picture_becomes_no_uri():
    with pytest.raises(ValueError, match="no PNG"):
        to_data_uri(b"text")
