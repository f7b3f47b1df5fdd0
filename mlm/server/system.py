"""What a server owes the system it runs on: open files, and children that nobody else reaps."""

import logging
import os

from mlm.server.crowd import TURNED_AWAY

_log = logging.getLogger("mlm.server")
_SPARE_FILES = 64  # databases, logs, sockets of workers


def raise_file_limit(connections: int) -> None:
    """Allow this process the files that so many connections need, as far as the system does."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    needed = connections + _SPARE_FILES
    wanted = connections * TURNED_AWAY + needed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        _log.warning("only %d files may be open: fewer than %d clients fit", allowed, connections)


def reap_orphans(own: set[int]) -> list[int]:
    """Collect children that have ended, but for our ``own``; return their process ids.

    As process 1 of a container we inherit the children of every process that dies there.
    """
    reaped: list[int] = []
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return reaped
        if found is None or found.si_pid in own:
            return reaped  # our own comes first: whoever waits for it makes way for the others
        os.waitpid(found.si_pid, 0)
        reaped.append(found.si_pid)
