"""Splits what has been typed into words as bash does, while it is still being typed."""

_ENDS = " \t\n"


def split_line(line: str) -> list[str]:
    """Return the words of ``line`` without their quotes; the last one is where the cursor is.

    A quote that is still open belongs to the last word; after a blank, the last word is empty.
    """
    words, word, quote, escaped = list[str](), "", "", False
    begun = False  # a word may be empty: ""
    for char in line:
        if not escaped and not quote and char in _ENDS:
            words += [word] if begun else []
            word, begun = "", False
            continue
        begun = True
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'":
            quote = char
        else:
            word += char
    return [*words, word]


def open_quote(line: str) -> str:
    """Return the quote that is open at the end of ``line``, or nothing."""
    quote, escaped = "", False
    for char in line:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
    return quote
