"""What a hub's refusal means: a status and a few headers, turned into one of our errors."""

import time
from dataclasses import dataclass

from mlm.errors import AuthError, MlmError, NetworkError, NotFoundError
from mlm.store.retry import RETRIED_STATUSES, Headers, asked_wait
from mlm.store.wire import Interrupted, host_of
from mlm.units import format_duration


class GatedError(AuthError):
    """The repository is open only to those who have accepted its licence."""

    code = "gated"


class HubProtocolError(NetworkError):
    """The hub, or what answers in its place, does not speak the hub's protocol."""

    code = "hub_protocol"

    def __init__(self, endpoint: str, what: str) -> None:
        super().__init__(
            f"{host_of(endpoint)} does not answer as a hub would: {what}",
            remedy="check HF_ENDPOINT, and that no login page stands between: mlm doctor",
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, so that a refusal can name it."""

    endpoint: str
    repo_id: str
    revision: str
    filename: str | None = None
    has_token: bool = False


def explain_refusal(status: int, headers: Headers, asked: Asked) -> MlmError:
    """Return the error for an answer that is not a success."""
    code = headers.get("X-Error-Code") or ""
    detail = headers.get("X-Error-Message") or ""
    if code == "GatedRepo":
        return _gated(asked)
    if code == "RepoNotFound" or "resource is disabled" in detail:
        return _no_repository(asked, disabled=code != "RepoNotFound")
    if status in RETRIED_STATUSES or status >= 500:
        return _busy(status, headers, asked)
    if status in (401, 403):
        return _unauthorised(status, detail, asked)
    if status == 404:
        return _nothing_there(code, asked)
    return HubProtocolError(asked.endpoint, f"status {status}")


def _gated(asked: Asked) -> GatedError:
    who = "with your token" if asked.has_token else "and no token is set"
    page = f"{asked.endpoint}/{asked.repo_id}"
    then = "" if asked.has_token else ", then run: hf auth login"
    return GatedError(
        f"{asked.repo_id} is gated: its licence has not been accepted {who}",
        remedy=f"accept the licence at {page}{then}",
    )


def _no_repository(asked: Asked, *, disabled: bool) -> NotFoundError:
    if disabled:
        return NotFoundError(
            f"the hub has disabled {asked.repo_id}", remedy="choose another repository"
        )
    private = "or it is private and your token may not see it"
    if not asked.has_token:
        private = "or it is private and no token is set (hf auth login)"
    return NotFoundError(
        f"{host_of(asked.endpoint)} has no repository {asked.repo_id}, {private}",
        remedy="check the spelling, or look for the model: mlm catalog list",
    )


def _busy(status: int, headers: Headers, asked: Asked) -> Interrupted:
    wait_s = asked_wait(headers, time.time())
    host = host_of(asked.endpoint)
    if status == 429:
        when = f"in {format_duration(wait_s)}" if wait_s is not None else "later"
        token = "" if asked.has_token else "; a token raises the limit (hf auth login)"
        return Interrupted(
            f"{host} answers 429: too many requests",
            remedy=f"try again {when}{token}",
            wait_s=wait_s,
        )
    return Interrupted(
        f"{host} has a problem of its own (status {status})",
        remedy="try again later; what has arrived is kept",
        wait_s=wait_s,
    )


def _unauthorised(status: int, detail: str, asked: Asked) -> AuthError:
    host = host_of(asked.endpoint)
    if asked.has_token:
        why = "the token is not valid" if "nvalid" in detail else "the token does not allow it"
        return AuthError(
            f"{host} refuses {asked.repo_id} (status {status}): {why}",
            remedy="get a token that may read it, then: hf auth login",
        )
    return AuthError(
        f"{host} refuses {asked.repo_id} (status {status}) without a token",
        remedy="hf auth login (or export HF_TOKEN=hf_…)",
    )


def _nothing_there(code: str, asked: Asked) -> NotFoundError:
    if code == "RevisionNotFound":
        return NotFoundError(
            f"{asked.repo_id} has no revision {asked.revision}",
            remedy="leave out --revision, or give a branch, tag or commit that exists",
        )
    if asked.filename is not None:
        return NotFoundError(
            f"{asked.repo_id} has no file {asked.filename} at {asked.revision}",
            remedy=f"see what there is: {asked.endpoint}/{asked.repo_id}/tree/{asked.revision}",
        )
    return NotFoundError(
        f"{host_of(asked.endpoint)} has nothing for {asked.repo_id} at {asked.revision}",
        remedy="check the name, --revision and HF_ENDPOINT",
    )
