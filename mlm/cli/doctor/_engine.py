"""Does the engine load, and does it use the GPUs that there are?"""

from collections.abc import Iterator

from mlm.cli.doctor._finding import Finding
from mlm.engine.build import describe_build, judge_gpus
from mlm.hardware.cached import cached_hardware
from mlm.settings import Settings


def check_engine(settings: Settings) -> Iterator[Finding]:
    """The engine is installed and loads; its build can use the GPUs of this machine."""
    build = describe_build()
    yield Finding("engine", "ok", f"llama.cpp (llama-cpp-python {build.version})")
    check = judge_gpus(build, cached_hardware(settings.home.cache).accelerators)
    yield Finding(check.name, check.status, check.detail, check.fix)
