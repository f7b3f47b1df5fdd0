"""What a person sees, kept as files to look at: golden screens of a chat at real terminals.

Under a line that is styled another one tells how: b bold, d dim, i italic, u underlined, r reverse,
a capital the first letter of a colour. ``UPDATE_SCREENS=1 pytest tests/cli/test_chat_screens.py``
writes the files anew.
"""

import json
import os
import re
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer
from fakes.spectator import Spectator, at_terminal, without_figures

pytestmark = pytest.mark.usefixtures("warm_home")

# What can be read on a dark and on a light background: no white or yellow, no black or blue.
READABLE = {"default", "red", "green", "magenta", "cyan"}
SCREENS = Path(__file__).parent / "screens"
ANSWER = """# Tides

The **sea** rises and falls *twice* a day, mostly because of the moon; `tide` is the word.

- The moon pulls at the near side more than at the Earth itself.
- 月 and 🌊 are two columns wide each.
  1. nested

> Time and tide wait for no man.

```python
def height(hours: float) -> float:
    # a day has two of them
    return 1.5 * cos(hours * 0.506)  # "metres"
```

| Port | Range | Remark |
|:-----|------:|--------|
| Saint-Malo | 12.2 m | among the greatest of Europe |
| Kiel | 0.1 m | none to speak of |

More in [the almanac](https://example.org/tides).
"""


def thinks_and_says(server: OpenAIServer, thoughts: int, answer: str) -> None:
    """Have the server think, then answer word by word."""
    deltas = [{"reasoning_content": "hm "}] * thoughts
    deltas += [{"content": f"{word} "} for word in answer.split(" ")]
    usage = {
        "prompt_tokens": 1200,
        "completion_tokens": 80,
        "prompt_tokens_details": {"cached_tokens": 1024},
    }
    chunks: list[object] = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"usage": usage}]
    lines = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    server.sends(*lines, b"data: [DONE]\n\n")


def chat_about_tides(terminal: Spectator) -> None:
    """Ask, get an answer and a failure, and leave a line unfinished."""
    terminal.sees(">>>")
    terminal.types("Why are there tides?\r")
    terminal.sees("almanac")
    await_prompt(terminal)
    terminal.types("/nonsense\r")
    terminal.sees("no command /nonsense")
    await_prompt(terminal)
    terminal.types("And at Kiel, in winter?")
    terminal.sees("in winter?")


def await_prompt(terminal: Spectator) -> None:
    """Wait until nothing else is done: a dumb terminal shows at once what is typed too early."""
    terminal.waits(lambda: ">>>" in map(str.strip, terminal.lines), "no prompt")


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("colours", ["colour", "no-colour", "dumb"])
def test_a_chat_looks_as_it_should(
    openai_server: OpenAIServer, home: Path, columns: int, colours: str
):
    openai_server.announce(home)
    thinks_and_says(openai_server, 30, ANSWER)
    looks = {"colour": {"NO_COLOR": ""}, "no-colour": {}, "dumb": {"TERM": "dumb", "NO_COLOR": ""}}
    with at_terminal("chat", "tiny", rows=70, columns=columns, **looks[colours]) as terminal:
        chat_about_tides(terminal)
        seen = without_figures(terminal.painted()) + "\n"
        cells = [cell for row in terminal.screen.buffer.values() for cell in row.values()]
        assert {cell.fg for cell in cells} <= READABLE
        assert {cell.bg for cell in cells} == {"default"}
        if colours == "dumb":
            seen = re.sub(
                r"\n\|80 tokens .*?\n\|>>>", "\n|80 tokens …\n|>>>", seen, flags=re.DOTALL
            )
            assert b"\x1b" not in terminal.raw
    golden = SCREENS / f"chat-{columns}-{colours}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(seen, encoding="utf-8")
    assert seen == golden.read_text(encoding="utf-8")
