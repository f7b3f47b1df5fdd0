"""Over https: whose certificate is trusted, and how long a handshake may take."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.hub import File
from fakes.hub.certificate import make_authority
from fakes.hub.tiny import NAME, REPO, TINY
from stress.house import House, living_in

from mlm.errors import ExitCode

WORDS = ("download", f"{REPO}:Q4_K_M", "--json")


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return tmp_path / "authority.pem"


@pytest.fixture
def house(tmp_path: Path, authority: Path) -> Iterator[House]:
    with living_in(tmp_path / "house", make_authority(tmp_path)[1]) as house:
        house.hub.add(REPO, File(NAME, TINY))
        yield house


def test_a_certificate_that_nobody_vouches_for_is_named_as_the_reason(house: House):
    failed = house.run(*WORDS).expect(ExitCode.NETWORK)
    message = failed.json["error"]["message"]
    assert "its certificate is not trusted" in message and "SSL_CERT_FILE" in message
    assert house.hub.requests == []


@pytest.mark.slow
def test_a_slow_handshake_is_waited_for(house: House, authority: Path):
    house.hub.delay_handshakes(0.3)
    house.run(*WORDS, SSL_CERT_FILE=str(authority)).expect(ExitCode.OK)


@pytest.mark.slow
def test_a_handshake_without_end_is_given_up(house: House, authority: Path):
    house.hub.delay_handshakes(None)
    environ = {"SSL_CERT_FILE": str(authority), "MLM_TIMEOUT_SCALE": "0.02"}
    failed = house.run(*WORDS, **environ).expect(ExitCode.NETWORK)
    assert "no answer in time" in failed.json["error"]["message"]
