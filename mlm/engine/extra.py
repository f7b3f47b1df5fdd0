"""Whether the part of mlm that runs models is installed."""

from importlib.util import find_spec

from mlm.errors import EngineError

INSTALL_COMMAND = "mlm engine install"
_MODULES = ("llama_cpp", "jinja2", "msgspec", "starlette", "uvicorn")


class EngineMissing(EngineError):
    """This installation can choose and fetch models but not run them."""

    code = "engine_missing"

    def __init__(self, module: str) -> None:
        super().__init__(
            f"the engine is not installed (there is no module '{module}')", remedy=INSTALL_COMMAND
        )


def require_engine() -> None:
    """Return if models can be run here; nothing is imported to find out.

    Raises:
        EngineMissing: the extra ``llama`` is not installed.
    """
    for module in _MODULES:
        if find_spec(module) is None:
            raise EngineMissing(module)
