"""Who gets to see the token and the signatures of links, and which requests are made at all."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fakes.hub import FakeHub, File
from fakes.hub.certificate import make_authority
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.errors import ExitCode
from stress.house import House, finish, living_in

TOKEN = "hf_canaryCanaryCanary"
REF = f"{REPO}:Q4_K_M"
LIMITS = {"leaks": 0, "requests nobody asked for": 0}
# Says on stderr what reaches for the network, and stops it.
DEAF = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        print("NETWORK", event, arguments, file=sys.stderr)
        raise PermissionError(event)
sys.addaudithook(refuse)
from mlm.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def _elsewhere(where: str) -> Callable[[FakeHub, FakeHub], object]:
    def redirect(hub: FakeHub, stranger: FakeHub) -> None:
        hub.breaks(where=where, status=302, headers={"Location": f"{stranger.endpoint}/x"})

    return redirect


SCENES: dict[str, tuple[Callable[[FakeHub, FakeHub], object], ExitCode]] = {
    "all is well": (lambda hub, stranger: None, ExitCode.OK),
    "renamed": (lambda hub, stranger: hub.breaks(where="api", hops=1), ExitCode.OK),
    "cut once": (lambda hub, stranger: hub.breaks(drop_at=150_000, times=1), ExitCode.OK),
    "link refused": (lambda hub, stranger: hub.breaks(status=403), ExitCode.NETWORK),
    "bytes missing": (lambda hub, stranger: hub.breaks(status=404), ExitCode.NETWORK),
    "broken server": (lambda hub, stranger: hub.breaks(status=500), ExitCode.NETWORK),
    "silence": (lambda hub, stranger: hub.breaks(drop_before_headers=True), ExitCode.NETWORK),
    "wrong bytes": (lambda hub, stranger: hub.breaks(flip_bit=9_000), ExitCode.INTEGRITY),
    "gated": (
        lambda hub, stranger: hub.breaks(
            where="resolve", status=403, headers={"X-Error-Code": "GatedRepo"}
        ),
        ExitCode.AUTH,
    ),
    "sent elsewhere by the listing": (_elsewhere("api"), ExitCode.NOT_FOUND),
    "sent elsewhere by the file": (_elsewhere("resolve"), ExitCode.NOT_FOUND),
    "sent elsewhere by the bytes": (_elsewhere("cdn"), ExitCode.NOT_FOUND),
}


@dataclass(frozen=True)
class Case:
    scene: str
    is_encrypted: bool


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield every scene, plain and over TLS, however many rounds."""
    for scene in SCENES:
        yield Case(scene, False)
        yield Case(scene, True)


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Download with a token, then look for it and for signatures everywhere."""
    authority, context = make_authority(folder) if case.is_encrypted else (None, None)
    prepare, expected = SCENES[case.scene]
    with living_in(folder / "house", context) as house, FakeHub(tls=context) as stranger:
        house.hub.add(REPO, File(NAME, model_bytes(300_000)))
        house.hub.repos[REPO].token = TOKEN
        prepare(house.hub, stranger)
        trust = {"SSL_CERT_FILE": str(authority)} if authority else {}
        process = house.start(
            *("download", REF, "--json"), HF_TOKEN=TOKEN, MLM_TIMEOUT_SCALE="0.1", **trust
        )
        arguments = set()
        while process.poll() is None and Path("/proc").exists():
            arguments.add(_command_line(process.pid))
            time.sleep(0.01)
        done = finish(process)
        if case.scene.startswith("sent elsewhere"):
            done.expect(ExitCode.NOT_FOUND, ExitCode.NETWORK)
        else:
            done.expect(expected)
        _check_requests(house.hub, case.scene)
        for place in (house.hub.asked("cdn"), stranger.requests):
            assert all(TOKEN not in str(request) for request in place), "a stranger saw the token"
        _check_secrets(done.stdout + done.stderr + "".join(arguments), house)
    return {"runs": 1, "leaks": 0, "requests nobody asked for": 0}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _check_requests(hub: FakeHub, scene: str) -> None:
    """Compare with the exact list of what a download asks, in this order, each perhaps again."""
    (commit,) = hub.repos[REPO].commits
    allowed = (
        rf"/api/models/{REPO}/revision/main\?blobs=true(&hop=\d+)?",
        rf"/{REPO}/resolve/{commit}/{NAME}",
        r"/[0-9a-f]{64}\?Signature=\d+~secret",
    )
    stages = []
    for request in hub.requests:
        matching = [n for n, path in enumerate(allowed) if re.fullmatch(path, request.path)]
        assert matching and request.method == "GET", f"{request.method} {request.path}"
        stages += matching
    assert stages[0] == 0, "the listing comes first"
    if scene == "all is well":
        assert stages == [0, 1, 2], stages


def _check_secrets(said: str, house: House) -> None:
    for secret in (TOKEN, "~secret"):
        assert secret not in said, f"{secret} was shown"
        for path in house.folder.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), f"{secret} is in {path}"


def go_offline(folder: Path, *, alone: bool) -> dict[str, float]:
    """Use an installed model offline; ``alone``: where there is no network at all."""
    with living_in(folder) as house:
        house.hub.add(REPO, File(NAME, model_bytes(300_000)))
        house.run("download", REF, "--json").expect(0)
        house.hub.requests.clear()
        deaf = (sys.executable, "-c", DEAF)
        prefix = ("unshare", "-Urn", *deaf) if alone else deaf
        for words in (("download", REF), ("list",), ("verify",), ("show", REF)):
            house.run("--offline", *words, "--json", prefix=prefix).expect(0)
        missing = house.run("--offline", "download", f"{REPO}:Q8_0", "--json", prefix=prefix)
        missing.expect(ExitCode.NETWORK, ExitCode.NOT_FOUND)
        assert "NETWORK" not in missing.stderr, missing.stderr
        assert house.hub.requests == []
    return {"runs": 1}
