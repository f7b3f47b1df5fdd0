"""Where the server listens, and by which names it may be called."""

import errno
import ipaddress
import socket

import psutil

from mlm.errors import ConflictError, UsageError
from mlm.server.registry import owner_of_port

_BACKLOG = 2048
# Of an answer that is read slowly, so much waits in the kernel (Linux doubles it); on loopback it
# would be 2.6 MB.
_SEND_BUFFER_BYTES = 64 * 1024


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``."""
    try:
        address = ipaddress.ip_address(host)
        mapped = address.ipv4_mapped if address.version == 6 else None
        return (mapped or address).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port``; 0 takes a free port.

    Raises:
        ConflictError: the port is in use.
        UsageError: there is no such address here, or the port is not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"there is no address '{host}' here: {error}") from error
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(port) from error
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address that a client on this machine types."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def own_names(host: str) -> tuple[str, ...]:
    """Return what the Host header may say when the server is bound to ``host``."""
    names = {host}
    if not is_loopback(host):
        names.add(socket.gethostname())
        names |= {a.address.split("%")[0] for i in psutil.net_if_addrs().values() for a in i}
    return tuple(f"[{name}]" if ":" in name else name for name in sorted(names))


def _in_use(port: int) -> ConflictError:
    owner = owner_of_port(port)
    whose = f" by process {owner}" if owner else ""
    return ConflictError(
        f"port {port} is in use{whose}", remedy="mlm serve --port 0, or `mlm ps` and `mlm stop`"
    )
