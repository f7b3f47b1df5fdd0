"""What a running server takes in again when it is told to: API keys and runtime configs."""

import logging

from mlm.errors import MlmError
from mlm.server.services import Services

_log = logging.getLogger("mlm.server")


async def reload(services: Services) -> None:
    """Read again what may have changed on disk; the log says what has.

    What cannot be read stays as it was. A model whose config has changed is loaded anew when
    nobody uses it, unless it only says how the server treats its answers.
    """
    try:
        services.keys.reload()
    except MlmError as error:
        _log.warning("%s; the keys of before stay", error.message)
    changed = await services.shelf.renew()
    for model in changed:
        services.pool.renew(model)
        resident = services.pool.find(model.model_id)
        waits = resident is not None and resident.successor is not None
        when = "it is loaded anew when nobody uses it" if waits else "it counts from now on"
        _log.info("the config of %s has changed: %s", model.model_id, when)
    if not changed:
        _log.info("no config of a model that is in use here has changed")
