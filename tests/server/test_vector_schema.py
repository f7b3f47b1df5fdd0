"""What a request for vectors or scores may be, and what is said of any other."""

from typing import Any

import pytest

from mlm.server.errors import ApiError
from mlm.server.vector_schema import read_embeddings, read_rerank

GOOD = {"model": "m", "input": "hello"}
RANK = {"model": "m", "query": "q", "documents": ["a", "b"]}


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ["a"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([1, "a", 2], [[1, "a", 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [1, "b"]], ["a", [1, "b"]]),
        ({"prompt_string": "a"}, ["a"]),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ["ab"]),
        (["a", {"prompt_string": "b"}], ["a", "b"]),
    ],
)
def test_inputs_come_in_many_forms(given: Any, inputs: list[Any]):
    assert read_embeddings({**GOOD, "input": given}).embed.inputs == inputs


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3.5}, "input"),
        ({"input": True}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [None]}, "input"),
        ({"input": [["a", None]]}, "input"),
        ({"input": [[[1]]]}, "input"),
        ({"input": {}}, "input"),
        ({"input": {"content": "a"}}, "input"),
        ({"input": {"content": [{"type": "unknown"}]}}, "input"),
        ({"input": {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}}, "input"),
        ({"input": {"content": [7]}}, "input"),
        ({"input": {"prompt_string": 7}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "8"}, "dimensions"),
        ({"dimensions": 2**40}, "dimensions"),
    ],
)
def test_what_cannot_be_meant_is_named(changes: dict[str, Any], param: str):
    with pytest.raises(ApiError) as caught:
        read_embeddings({**GOOD, **changes})
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"query": None}, "query"),
        ({"query": ["q"]}, "query"),
        ({"documents": None}, "documents"),
        ({"documents": []}, "documents"),
        ({"documents": 123}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": [1, 2, 3]}, "documents"),
        ({"documents": [{"title": "a"}]}, "documents"),
        ({"documents": ["a"] * 2049}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "2"}, "top_n"),
        ({"return_documents": 1}, "return_documents"),
        ({"model": None}, "model"),
    ],
)
def test_what_cannot_be_ranked_is_named(changes: dict[str, Any], param: str):
    with pytest.raises(ApiError) as caught:
        read_rerank({**RANK, **changes})
    assert (caught.value.status, caught.value.param) == (400, param)


def test_fields_that_nobody_knows_are_told():
    assert read_embeddings({**GOOD, "user": "me", "wibble": 1}).ignored == ("user", "wibble")
    assert read_rerank({**RANK, "max_chunks_per_doc": 3}).ignored == ("max_chunks_per_doc",)
