"""What a conversation is called until somebody calls it something else."""

from mlm.terminal import printable

MAX_TITLE = 60  # characters


def make_title(question: str) -> str:
    """Return the first words of a question, on one line."""
    words = " ".join(printable(question[: 20 * MAX_TITLE]).split())
    if len(words) <= MAX_TITLE:
        return words or "(no words)"
    cut = words[: MAX_TITLE - 1]
    whole, space, _ = cut.rpartition(" ")
    return (whole if space and len(whole) > MAX_TITLE // 2 else cut).rstrip() + "…"
