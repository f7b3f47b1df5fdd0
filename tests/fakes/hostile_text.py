"""What text can do to a terminal that obeys it: some 350 sequences, each under its name.

From ECMA-48 (C0, C1, ESC, CSI, control strings), xterm's and other terminals' own (OSC, DCS, APC),
and Unicode's bidirectional controls. Each is complete: nothing of it is text, and what comes after
it is.
"""

from collections.abc import Iterator

ST_BY_NAME = {"BEL": "\x07", "ST": "\x1b\\", "8-bit ST": "\x9c"}
STRING_OPENERS = "PX]^_"  # after ESC: DCS, SOS, OSC, PM, APC
OSC = (
    "0;pwned", "1;pwned", "2;pwned", "4;1;rgb:00/00/00", "7;file:///etc", "8;;https://evil.example",
    "8;id=1;file:///etc/passwd", "9;pwned", "10;#000000", "11;#ffffff", "12;red",
    "50;SetProfile=evil", "52;c;cm0gLXJmIC8=", "52;p;?", "104", "110", "133;A", "777;notify;a;b",
    "1337;File=inline=1:AAAA", "1337;RemoteHost=evil", "",
)  # fmt: skip
OTHER_STRINGS = {
    "DCS terminfo": "P+q544e", "DCS settings": "P$qm", "DCS sixel": "Pq#0;2;0;0;0#0~~@@vv$-",
    "DCS keys": "P1;1|17/63", "APC kitty image": "_Gf=24,s=1,v=1;AAAA", "APC": "_tmux;x",
    "PM": "^secret", "SOS": "Xsecret",
}  # fmt: skip
CSI = (
    "?25l", "?1049h", "?1049l", "?47h", "?2004h", "?1000h", "?1006h", "?5h", "?7l", "?69h", ">c",
    "=c", "6n", "?6n", "18t", "21t", "14t", "8;1;1t", "3;0;0t", ">4;2m", ">1u", "<u", "?u", "!p",
    "2 q", "0$}", "1;1;5;5$z", "4;1;1;5;5$r", "1'{", "38;2;1;2;3m", "48;5;1m", "8m", "1;5;7m",
    "31:4m", "100000000m", "1;2;3;4;5;6;7;8;9;0m", "3J", "2J", "H", "999D", "1;1H", "999;999H",
)  # fmt: skip
ESCAPES = (
    " F", " G", " L", "#3", "#5", "#6", "#8", "%@", "%G", "(0", "(B", ")0", "*0", "+0", "-A", ".A",
    "/A", "$)A",
)  # fmt: skip
PARTS = {
    "spoilt by CAN": "\x1b[31\x18",
    "spoilt by SUB": "\x1b]0;pwned\x1a",
    "spoilt by ESC": "\x1b[3\x1b[0m",
    "string spoilt by CAN": "\x1bPq\x18",
    "string in CSI": "\x1b[3\x1b]0;x\x07",
    "CR in CSI": "\x1b[3\r1m",
    "backspace in CSI": "\x1b[\x08\x082J",
    "DEL in CSI": "\x1b[2\x7fJ",
    "NUL in CSI": "\x1b[\x002J",
    "bell in CSI": "\x1b[\x07m",
    "CR after ESC": "\x1b\rc",
    "8-bit CSI in OSC": "\x1b]0;\x9b2J\x07",
    "OSC in DCS": "\x1bPtmux;\x1b\x1b]52;c;AAAA\x07\x1b\\",
    "ESC ESC": "\x1b\x1b[2J",
    "C1 in CSI": "\x1b[31\x84",
    "ST in CSI": "\x1b[31\x9c",
    "line taken back": "\r\x1b[2K",
    "text taken back": "\x08\x08",
    "many backspaces": "\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08",
    "line up": "\x1b[1A\x1b[2K\r",
    "link with an end": "\x1b]8;;\x07",
    "8-bit OSC": "\x9d0;pwned\x9c",
    "8-bit OSC, BEL": "\x9d0;pwned\x07",
    "8-bit DCS": "\x90+q544e\x9c",
    "8-bit APC": "\x9fGf=24;AAAA\x1b\\",
    "8-bit PM": "\x9esecret\x9c",
    "8-bit SOS": "\x98secret\x9c",
    "8-bit CSI": "\x9b31m",
    "8-bit CSI, private": "\x9b?1049h",
    "8-bit clear": "\x9b2J",
}


def hostile_sequences() -> Iterator[tuple[str, str]]:
    """Yield name and text of each sequence."""
    yield from ((f"C0 {code:#04x}", chr(code)) for code in range(32) if code not in (9, 10, 27))
    yield "DEL", "\x7f"
    openers = (0x90, 0x98, 0x9B, 0x9D, 0x9E, 0x9F)
    yield from ((f"C1 {code:#04x}", chr(code)) for code in range(0x80, 0xA0) if code not in openers)
    for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        yield f"bidirectional U+{code:04X}", chr(code)
    yield from ((f"surrogate U+{code:04X}", chr(code)) for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF))
    for code in range(0x30, 0x7F):
        if chr(code) not in f"[{STRING_OPENERS}":
            yield f"ESC {chr(code)}", f"\x1b{chr(code)}"
    yield from ((f"ESC {rest}", f"\x1b{rest}") for rest in ESCAPES)
    yield from ((f"CSI {chr(code)}", f"\x1b[5{chr(code)}") for code in range(0x40, 0x7F))
    yield from ((f"CSI {rest}", f"\x1b[{rest}") for rest in CSI)
    for name, end in ST_BY_NAME.items():
        yield from ((f"OSC {rest}, {name}", f"\x1b]{rest}{end}") for rest in OSC)
        for what, rest in OTHER_STRINGS.items():
            yield f"{what}, {name}", f"\x1b{rest}{end}"
    yield from PARTS.items()


SEQUENCES = dict(hostile_sequences())


def controls_in(text: str, *, but: str = "\n\t") -> set[str]:
    """Return the characters of ``text`` that a terminal would obey, and lone surrogates."""
    return {char for char in text if char not in but and _is_obeyed(ord(char))}


def _is_obeyed(code: int) -> bool:
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
    )
