"""What can go wrong, as one tree.

MlmError
├── UsageError         2    the request itself makes no sense
├── NotFoundError      3    no such model, quantization, file, server
├── DoesNotFitError    4    this machine is too small for it
├── IntegrityError     5    bytes are not what was promised
├── NetworkError       6    the hub or a server cannot be reached, or misbehaves
├── AuthError          7    a token is missing, wrong, or a licence was not accepted
├── DiskSpaceError     8    the disk is too full
├── EngineError        9    the engine is not installed, or failed
├── ConflictError      10   port, lock or file is in use by somebody else
└── GateFailedError    11   a check that was asked to pass did not: a comparison, a schema

Every error says what happened and why (``message``), and what to type next (``remedy``). Rooms
subclass the family that gives the right exit code. Only ``mlm/cli/app.py`` turns one into output.
"""

import errno
from collections.abc import Mapping
from enum import IntEnum

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of an OSError: there is no room for it


class ExitCode(IntEnum):
    """The exit status of every ``mlm`` command; part of the public contract."""

    OK = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    DOES_NOT_FIT = 4
    INTEGRITY = 5
    NETWORK = 6
    AUTH = 7
    DISK_SPACE = 8
    ENGINE = 9
    CONFLICT = 10
    GATE_FAILED = 11
    INTERRUPTED = 130


class MlmError(Exception):
    """Something a person can understand and act on."""

    exit_code = ExitCode.BUG
    code = "unexpected"  # stable, machine-readable; `error.code` in JSON output

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details: Mapping[str, object] = {}  # more fields of the ``mlm.error/1`` document


class UsageError(MlmError):
    """The request itself makes no sense."""

    exit_code = ExitCode.USAGE
    code = "usage"


class NotFoundError(MlmError):
    """There is no such model, quantization, file or server."""

    exit_code = ExitCode.NOT_FOUND
    code = "not_found"


class DoesNotFitError(MlmError):
    """This machine is too small for what was asked."""

    exit_code = ExitCode.DOES_NOT_FIT
    code = "does_not_fit"


class IntegrityError(MlmError):
    """The bytes are not what was promised."""

    exit_code = ExitCode.INTEGRITY
    code = "integrity"


class NetworkError(MlmError):
    """The hub or a server cannot be reached, or does not speak its protocol."""

    exit_code = ExitCode.NETWORK
    code = "network"


class AuthError(MlmError):
    """A token is missing or wrong, or a licence has not been accepted."""

    exit_code = ExitCode.AUTH
    code = "auth"


class DiskSpaceError(MlmError):
    """The disk is too full for what was asked."""

    exit_code = ExitCode.DISK_SPACE
    code = "disk_space"


class EngineError(MlmError):
    """The engine is not installed, or a worker failed."""

    exit_code = ExitCode.ENGINE
    code = "engine"


class ConflictError(MlmError):
    """A port, a lock or a file is in use by somebody else."""

    exit_code = ExitCode.CONFLICT
    code = "conflict"


class GateFailedError(MlmError):
    """A check that was asked to pass did not: a comparison, an answer by a schema."""

    exit_code = ExitCode.GATE_FAILED
    code = "gate_failed"
