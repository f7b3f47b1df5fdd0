"""What of bytes is text. What is none is refused in the same words, wherever it came from."""

import codecs

from mlm.errors import UsageError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_MOST_BROKEN = 0.1  # of the characters; with more it is no text in UTF-8 at all
_PICTURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_HEIF = (b"heic", b"heix", b"mif1", b"msf1", b"avif")  # what telephones write


def decode(data: bytes, source: str) -> tuple[str, str]:
    """Return bytes of ``source`` as text, and what its reader should know: that it was changed.

    The text is UTF-8, or UTF-16 if a byte-order mark says so. What is not becomes U+FFFD.

    Raises:
        UsageError: it is not text.
    """
    if picture := _picture_kind(data):
        raise UsageError(
            f"{source} is a picture ({picture}), not text",
            remedy="convert it to PNG or JPEG, which can be attached; or give a text",
        )
    if data.startswith(b"%PDF"):
        raise UsageError(
            f"{source} is a PDF, not text", remedy="pdftotext FILE TEXT_FILE gives its text"
        )
    name, codec = ("UTF-16",) * 2 if data.startswith(UTF16_MARKS) else ("UTF-8", "utf-8-sig")
    text = data.decode(codec, "replace")
    if "\0" in text:
        raise UsageError(f"{source} is binary, not text", remedy="give a text")
    try:
        data.decode(codec)
    except UnicodeDecodeError as error:
        n_broken = text.count("\ufffd") - data.count("\ufffd".encode())
        if n_broken > _MOST_BROKEN * len(text):
            raise UsageError(
                f"{source} is not {name} text (byte {error.start})",
                remedy="convert it first, for example with iconv -f latin1 -t utf-8",
            ) from error
        return text, f"not all {name} (byte {error.start} …): {n_broken} U+FFFD stand for the rest"
    return text, ""


def _picture_kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "HEIC or AVIF"
    return next((kind for magic, kind in _PICTURES.items() if data.startswith(magic)), None)
