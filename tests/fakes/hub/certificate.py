"""A certificate authority of the test's own, and a certificate for this machine signed by it."""

import ssl
import subprocess
from pathlib import Path

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the certificate that a client must trust (``SSL_CERT_FILE``), and a server's side."""
    authority, chain = folder / "authority.pem", folder / "server.pem"
    authority_key, key = folder / "authority.key", folder / "server.key"
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl(*new, "-days", "2", "-subj", "/CN=mlm test authority",
             "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign",
             "-keyout", authority_key, "-out", authority)  # fmt: skip
    _openssl(*new, "-days", "2", "-subj", "/CN=localhost", "-addext", _NAMES,
             "-addext", "basicConstraints=critical,CA:FALSE",
             "-CA", authority, "-CAkey", authority_key,
             "-keyout", key, "-out", chain)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return authority, context


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True)
