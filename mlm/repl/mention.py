"""Files named in a question: ``what does @notes.md say?``"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# At the start of a word, so that an address (somebody@example.org) is none.
_MENTION = re.compile(r"(?:^|(?<=[\s(\[{'\"]))@(?:\"(?P<quoted>[^\"\n]+)\"|(?P<plain>[^\s\"]+))")
_PUNCTUATION = ".,;:!?)]}'…"


@dataclass(frozen=True, slots=True)
class Mention:
    """What stands after an ``@``, and whether there is such a file."""

    name: str
    is_file: bool

    @property
    def looks_like_one(self) -> bool:
        """Whether a file must have been meant: then it is worth saying that there is none."""
        return "/" in self.name


def find_mentions(text: str) -> Iterator[Mention]:
    """Yield what stands after each ``@`` of a question, once each.

    A folder counts where a slash says that one is meant: ``@src/``. What is not there is text, as
    a decorator or somebody's name.
    """
    seen: set[str] = set()
    for match in _MENTION.finditer(text):
        name = match["quoted"] or match["plain"]
        while match["plain"] and not _is_file(name) and name[-1:] in _PUNCTUATION and name[:-1]:
            name = name[:-1]
        if name not in seen:
            seen.add(name)
            yield Mention(name, _is_file(name))


def _is_file(name: str) -> bool:
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return "/" in name
        return path.exists() or ("*" in name and any(_matches(path)))
    except (OSError, ValueError, RuntimeError, NotImplementedError):
        return False


def _matches(path: Path) -> Iterator[Path]:
    root = Path(path.anchor or ".")
    return root.glob(str(path.relative_to(root) if path.anchor else path))
