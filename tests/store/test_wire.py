"""One HTTP connection after the other: kept while it is of use, closed in the end."""

import gc
import warnings

from fakes.hub import FakeHub, File
from fakes.hub.tiny import REPO

from mlm.store.wire import Timeouts, Wire


def test_a_connection_that_comes_back_after_the_end_is_closed_all_the_same(
    hub: FakeHub, tiny: File
):
    wire = Wire(Timeouts())
    reply = wire.get(f"{hub.endpoint}/api/models/{REPO}", {})
    while reply.read(65536):
        pass
    wire.close()  # as when a download is stopped while another thread still hears an answer
    reply.close()
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always")
        del wire, reply
        gc.collect()
    assert [str(leak.message) for leak in leaks] == []
