"""A runtime config as a hardened service of systemd 244 or later, which runs ``mlm serve``."""

from dataclasses import dataclass
from pathlib import Path

from mlm.planning.exported import Exported, Subject, heading, one_line, refuse_path
from mlm.planning.types import MemoryPlan, RuntimeConfig
from mlm.units import MIB

_PROGRAM = "systemd"
# The process that speaks HTTP takes 48 MiB (measured: demo model, 64 requests from 32 clients at
# once); its caches and larger bodies come on top. Plans are within 5 % of what a worker takes.
_GATEWAY_BYTES = 256 * MIB
_MARGIN = 1.1
_NOT_IN_PROGRAMS = frozenset("\"'\\")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%"}
_CONTROLS = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class Service:
    """Who runs what."""

    mlm: tuple[str, ...]  # the words that run mlm, the first an absolute path
    ref: str
    config_file: Path
    home: Path
    hub_cache: Path
    user: str


def export_systemd(subject: Subject, planned: MemoryPlan, service: Service) -> Exported:
    """Return the unit for ``/etc/systemd/system/NAME.service``.

    Raises:
        CannotExport: a path has what systemd does not take in its place.
    """
    config = subject.config
    if any(char in _NOT_IN_PROGRAMS or ord(char) < 32 for char in service.mlm[0]):
        why = "systemd takes no quotes or backslashes in the path of a program"
        raise refuse_path(_PROGRAM, Path(service.mlm[0]), why)
    words = [*service.mlm, "--home", str(service.home), "serve", "--max-models", "1"]
    words += ["--config", str(service.config_file), "--", service.ref]
    # ":" has systemd take a $ as it is.
    command = " ".join(quote(word) for word in (f":{words[0]}", *words[1:]))
    settings = [
        "Type=exec",
        f"ExecStart={command}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        f"User={service.user}",
        f"Environment={quote(f'HF_HUB_CACHE={service.hub_cache}')}",
        "Restart=on-failure",
        "RestartSec=5",
        "# The server ends its workers itself, once their answers are given.",
        "KillMode=mixed",
        "TimeoutStopSec=30",
        "OOMPolicy=continue",
        f"MemoryMax={_memory_max(planned, subject.config)}",
    ]
    if config.use_mlock:
        settings.append("LimitMEMLOCK=infinity")
    settings += _sandbox(subject, service)
    unit = [
        "[Unit]",
        f"Description={_plain(f'mlm serves {subject.model_id}')}",
        "After=network.target",
    ]
    install = ["[Install]", "WantedBy=multi-user.target"]
    body = "\n".join([*unit, "", "[Service]", *settings, "", *install])
    return Exported(f"{heading(subject, _PROGRAM, ())}{body}\n", ())  # mlm itself reads it all


def quote(word: str) -> str:
    """Return ``word`` so that systemd takes it for one, whatever is in it."""
    escaped = "".join(_CONTROLS.get(char) or _ESCAPES.get(char, char) for char in word)
    return f'"{"".join(_hex(char) if ord(char) < 32 else char for char in escaped)}"'


def _hex(char: str) -> str:
    return f"\\x{ord(char):02x}"


def _sandbox(subject: Subject, service: Service) -> list[str]:
    """Return what the service may not do. It writes into its home, and nowhere else."""
    paths = (subject.path, service.config_file, service.home, service.hub_cache)
    uses_tmp = any(path.is_relative_to(tmp) for path in paths for tmp in ("/tmp", "/var/tmp"))
    settings = [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={_quote_path(service.home)}",
        "CapabilityBoundingSet=",
        "LockPersonality=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "UMask=0077",
    ]
    settings.append("# PrivateTmp would hide files of the model." if uses_tmp else "PrivateTmp=yes")
    if subject.config.n_gpu_layers:
        settings.append("# PrivateDevices would hide the GPU.")
    else:
        settings.append("PrivateDevices=yes")
    return settings


def _quote_path(path: Path) -> str:
    text = str(path)
    if any(ord(char) < 32 for char in text):
        raise refuse_path(_PROGRAM, path, "ReadWritePaths takes no control characters")
    return f'"{"".join(_ESCAPES.get(char, char) for char in text)}"'


def _plain(text: str) -> str:
    """Return ``text`` for a setting that takes the rest of its line."""
    return one_line(text).replace("\\", "/").replace("%", "%%")


def _memory_max(planned: MemoryPlan, config: RuntimeConfig) -> int:
    """Return the bytes of main memory that server and worker may take together."""
    cpu = planned.devices[0]
    return round((cpu.total + config.prefix_cache) * _MARGIN) + _GATEWAY_BYTES
