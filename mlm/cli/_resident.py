"""Having a running server do something with one of its models: what four commands share."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._session import Session
from mlm.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from mlm.client import ModelAction
    from mlm.server.registry import RunningServer

PidOpt = Annotated[
    int | None,
    typer.Option(
        "--pid", metavar="PID", help="Which server, if there are several.", show_default=False
    ),
]
_PATIENCE_S = 3600.0  # a large model comes slowly from a slow disk


def administer(
    session: Session, action: "ModelAction", ref: str, pid: int | None
) -> tuple["RunningServer", dict[str, Any]]:
    """Have a server do ``action`` with the model ``ref``; return the server and the model's state.

    Raises:
        NotFoundError: no server is running, or it has no such model.
        UsageError: several could be meant.
        ConflictError: the model is busy or pinned.
        DoesNotFitError: there is no room for it.
    """
    from mlm.cli._serving import find_path, match
    from mlm.cli._waiting import waiting_for
    from mlm.client import Client
    from mlm.server.registry import Registry

    registry = Registry(session.settings.home.run)
    path = find_path(session, ref)
    public = [server for server in registry.servers() if not server.private]
    offers = [(server, match(server, ref, path)) for server in public]
    server, model_id = _choose(offers, pid, f"mlm {action} {ref}")
    name = model_id or ref
    with (
        Client(server.url, registry.key_of(server.pid), silence_s=_PATIENCE_S) as client,
        waiting_for(session, f"waiting for {server.url} to {action} {name}"),
    ):
        return server, client.administer(action, name)


def _choose(
    offers: "list[tuple[RunningServer, str | None]]", pid: int | None, command: str
) -> "tuple[RunningServer, str | None]":
    """Return the server that is meant, and the model's id there if it is one of its own."""
    if pid is not None:
        offers = [offer for offer in offers if offer[0].pid == pid]
        if not offers:
            raise NotFoundError(f"no server of mlm has the process id {pid}", remedy="mlm ps")
    if not offers:
        raise NotFoundError("no server is running", remedy="mlm serve REF")
    own = [offer for offer in offers if offer[1] is not None]
    if len(own or offers) == 1:
        return (own or offers)[0]
    pids = ", ".join(str(server.pid) for server, _ in own or offers)
    raise UsageError(
        f"several servers could be meant: {pids}", remedy=f"{command} --pid {offers[0][0].pid}"
    )
