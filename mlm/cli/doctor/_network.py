"""Who answers: the hub, the servers that run here?"""

from collections.abc import Iterator

from mlm.cli.doctor._finding import Finding, failed
from mlm.client import Client
from mlm.errors import ExitCode, MlmError, NetworkError
from mlm.server.registry import Registry
from mlm.settings import Settings
from mlm.store.wire import Timeouts, Wire, host_of

PATIENCE_S = 3.0  # a doctor's visit is short
_WITHOUT_HUB = "check the network, HTTPS_PROXY and HF_ENDPOINT; mlm --offline does without"


def check_hub(settings: Settings) -> Iterator[Finding]:
    """The hub answers, whatever it says."""
    if settings.offline:
        yield Finding("hub", "ok", "not asked: offline")
        return
    patience = Timeouts(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S)
    host = host_of(settings.endpoint)
    try:
        with Wire(patience.scaled(settings.timeout_scale)).get(settings.endpoint, {}) as reply:
            status = reply.status
    except NetworkError as error:
        yield Finding("hub", "fail", error.message, _WITHOUT_HUB, ExitCode.NETWORK)
        return
    if status >= 500:
        yield Finding("hub", "fail", f"{host} answers {status}", _WITHOUT_HUB, ExitCode.NETWORK)
    else:
        token = "a token is set" if settings.token else "no token, which gated models need"
        yield Finding("hub", "ok", f"{host} answers; {token}")


def check_servers(settings: Settings) -> Iterator[Finding]:
    """Every running server answers."""
    servers = Registry(settings.home.run).servers()
    if not servers:
        yield Finding("servers", "ok", "none running")
    for server in servers:
        try:
            with Client(server.url, silence_s=PATIENCE_S) as client:
                client.health()
        except MlmError as error:
            yield failed("servers", error)
        else:
            models = ", ".join(server.models) or "no models"
            yield Finding("servers", "ok", f"{server.url} serves {models}")
