"""What `mlm serve` suggests to try."""

import pytest

from mlm.cli._serve_log import open_log
from mlm.cli._session import Session
from mlm.server.run import Listening, Loaded
from mlm.settings import Settings


@pytest.mark.parametrize("needs_key", [True, False])
def test_the_example_has_a_key_where_one_is_needed(
    capsys: pytest.CaptureFixture[str], needs_key: bool
):
    session = Session(Settings.from_environment(), quiet=False)
    with open_log(session, as_json=False) as tell:
        tell(Listening("http://127.0.0.1:1", needs_key))
        tell(Loaded(("mlm-demo",)))
    assert ('-H "Authorization: Bearer $KEY"' in capsys.readouterr().out) == needs_key
