"""What a server says it does explains why the first token is not there."""

import pytest

from mlm.repl.waiting import UNKNOWN, explain


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state": "starting", "progress": 0.42}, "loading the model, 42%"),
        (
            {"state": "ready", "active": 4, "waiting": 2},
            "queued: 4 being answered, 2 waiting",
        ),
        ({"state": "ready", "active": 1, "waiting": 0}, "reading the prompt"),
        ({"state": "ready", "active": 0, "waiting": 0}, UNKNOWN),
        ({"state": "ready"}, UNKNOWN),
    ],
)
def test_the_state_of_the_model_explains_the_wait(state: dict[str, object], words: str):
    assert explain({"resident": [{"model": "tiny", **state}]}, "tiny") == words


@pytest.mark.parametrize("stats", [{}, {"resident": []}, {"resident": None}, {"resident": [1]}])
def test_another_kind_of_server_is_no_failure(stats: dict[str, object]):
    assert explain(stats, "tiny") == UNKNOWN
