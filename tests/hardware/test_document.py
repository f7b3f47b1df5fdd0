"""The JSON document of hardware: out and in again, and what cannot be is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import UsageError
from mlm.hardware.detect import survey_hardware
from mlm.hardware.document import from_document, to_document
from mlm.hardware.preset import find_preset

SMALL = {"cpu": {"logical_cores": 4}, "memory": {"total": 8 * 1024**3}}


@pytest.mark.parametrize("name", ["2x RTX 3090, 128GB", "M2 Max 64GB", "16GB laptop"])
def test_what_is_written_is_read_back(name: str):
    written = json.loads(json.dumps(to_document(find_preset(name))))
    again = to_document(from_document(written))
    for field in ("cpu", "memory", "accelerators", "memory_bandwidth_bytes_per_s", "fingerprint"):
        assert again[field] == written[field]


def test_this_machine_survives_the_way_out_and_in(tmp_path):
    found = survey_hardware([tmp_path])
    again = from_document(json.loads(json.dumps(to_document(found))))
    assert (again.cpu, again.memory, again.disks) == (found.cpu, found.memory, found.disks)


def test_a_short_document_is_filled_with_what_follows_from_it():
    found = from_document(SMALL, source="box.json")
    assert found.cpu.usable_cores == 4
    assert found.memory.usable == found.memory.available == 8 * 1024**3
    assert found.memory_bandwidth_bytes_per_s is None
    assert found.fingerprint == "box.json"


def test_a_limit_reaches_what_is_usable():
    memory = {"total": 8 * 1024**3, "limit": 2 * 1024**3}
    assert from_document({**SMALL, "memory": memory}).memory.usable == 2 * 1024**3


GPU = {"name": "x", "kind": "cuda"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"memory": {}}, "memory.total is missing"),
        ({"memory": {"total": 0}}, "total must be an integer from 1 to"),
        ({"memory": {"total": -1}}, "total"),
        ({"memory": {"total": 1.5}}, "total"),
        ({"memory": {"total": True}}, "total"),
        ({"memory": {"total": "8GB"}}, "total"),
        ({"memory": {"total": 10**30}}, "total"),
        ({"memory": {"total": 5, "available": 6}}, "more memory available than there is"),
        ({"memory": None}, "memory must be an object"),
        ({"cpu": []}, "cpu must be an object"),
        ({"cpu": {}}, "cpu.logical_cores is missing"),
        ({"cpu": {"logical_cores": 0}}, "logical_cores"),
        ({"cpu": {"logical_cores": 2, "isa": [1]}}, "cpu.isa"),
        ({"cpu": {"logical_cores": 2, "name": 3}}, "name must be a short text"),
        ({"accelerators": "many"}, "accelerators must be a list"),
        ({"accelerators": [3]}, "accelerators[0] must be an object"),
        ({"accelerators": [{"name": "x", "kind": "abacus"}]}, "accelerators[0].kind"),
        ({"accelerators": [{**GPU, "memory_total": 5, "memory_free": 6}]}, "more memory free"),
        ({"accelerators": [{**GPU, "bandwidth_bytes_per_s": 0}]}, "bandwidth_bytes_per_s"),
        ({"accelerators": [GPU] * 300}, "accelerators must be a list"),
        ({"memory_bandwidth_bytes_per_s": -4}, "memory_bandwidth_bytes_per_s"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, problem: str):
    with pytest.raises(UsageError) as raised:
        from_document({**SMALL, **change}, source="box.json")
    assert raised.value.message.startswith("box.json: ")
    assert problem in raised.value.message
    assert raised.value.remedy is not None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
fields = st.sampled_from(["cpu", "memory", "accelerators", "disks", "fingerprint", "isa"])


@given(st.dictionaries(fields, anything) | anything)
def test_whatever_the_document_it_is_hardware_or_a_usage_error(document):
    try:
        from_document({**SMALL, **document} if isinstance(document, dict) else document)
    except UsageError as error:
        assert error.message


@pytest.mark.parametrize("quota", [0, -1, float("nan"), float("inf"), "1", True, 10**30])
def test_a_quota_that_cannot_be_is_refused(quota):
    document = to_document(find_preset("16GB laptop"))
    document["cpu"]["quota"] = quota
    with pytest.raises(UsageError, match="quota must be a number above 0"):
        from_document(document)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("cpu", "logical_cores", 2**40), ("cpu", "usable_cores", 10**30), ("cpu", "isa", "avx2"),
        ("cpu", "isa", ["x" * 10_000]), ("cpu", "name", "x" * 10_000), ("cpu", "quota", [1]),
        ("memory", "total", float("nan")), ("memory", "total", 10**30), ("memory", "total", "64GB"),
        ("memory", "usable", -1), ("memory", "limit", 0), ("memory", "total", True),
    ],
)  # fmt: skip
def test_no_absurd_figure_gets_through(place: str, name: str, value: object):
    document = to_document(find_preset("16GB laptop"))
    document[place][name] = value
    with pytest.raises(UsageError):
        from_document(document)


def test_a_machine_without_free_memory_can_be_told_of():
    document = to_document(find_preset("16GB laptop"))
    document["memory"] |= {"available": 0, "usable": 0}
    assert from_document(document).memory.usable == 0
