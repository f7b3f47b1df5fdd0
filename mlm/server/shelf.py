"""Which models this server can be asked for."""

import asyncio
import difflib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mlm.errors import MlmError, NotFoundError, UsageError
from mlm.server.errors import ApiError
from mlm.server.model import FindModel, Installed, ServedModel

_log = logging.getLogger("mlm.server")
_NAME = re.compile(r"[\w.:/-]{1,128}", re.ASCII)


class Shelf:
    """The models given on the command line, then whatever else is installed.

    ``find_model`` and ``list_models`` look on the disk; the latter returns all that is installed.
    ``plan_served`` finds a model of the command line again, as it is by now.
    """

    def __init__(
        self,
        served: Sequence[ServedModel],
        find_model: FindModel,
        list_models: Callable[[], Mapping[str, Installed]],
        plan_served: FindModel | None = None,
    ) -> None:
        self.served = tuple(served)
        self._known = {model.model_id: model for model in served}
        self._by_path = {model.path: model for model in served}
        self._find_model, self._list_models = find_model, list_models
        self._plan_served = plan_served or find_model
        self._lock = asyncio.Lock()  # a crowd that asks for the same new model looks it up once

    async def find(self, model_id: str) -> ServedModel:
        """Return the model called ``model_id``.

        Raises:
            ApiError: 404, naming the nearest ones; whatever else keeps it from being used.
        """
        if (known := self._known.get(model_id)) is not None:
            return known
        if _NAME.fullmatch(model_id) is None:
            raise ApiError(404, "model_not_found", "that is not the name of a model", param="model")
        async with self._lock:
            if model_id not in self._known:
                try:
                    found = await asyncio.to_thread(self._find_model, model_id)
                except (NotFoundError, UsageError):
                    raise self._unknown(model_id, [*await self.ids()]) from None
                # Another name for a file that is served already must not load it twice.
                self._known[model_id] = self._by_path.setdefault(found.path, found)
        return self._known[model_id]

    async def renew(self) -> list[ServedModel]:
        """Look again at all models that are known; return those that are run differently by now.

        What cannot be found or planned any more stays as it was, and the log says why.
        """
        changed: list[ServedModel] = []
        async with self._lock:
            for known in list(self._by_path.values()):
                plan = self._plan_served if known in self.served else self._find_model
                try:
                    new = await asyncio.to_thread(plan, known.model_id)
                except MlmError as error:
                    _log.warning("%s stays as it is: %s", known.model_id, error.message)
                    continue
                if _how(new) != _how(known):
                    self._replace(known, new)
                    changed.append(new)
        return changed

    def _replace(self, old: ServedModel, new: ServedModel) -> None:
        self.served = tuple(new if model is old else model for model in self.served)
        self._known = {name: new if m is old else m for name, m in self._known.items()}
        del self._by_path[old.path]
        self._by_path[new.path] = new

    async def ids(self) -> dict[str, bool]:
        """Return the served models in command-line order, then the other installed ones.

        With each goes whether it takes pictures.
        """
        installed = await asyncio.to_thread(self._list_models)
        served = {model.path for model in self.served}
        ids = {model.model_id: model.mmproj is not None for model in self.served}
        for model_id, there in installed.items():
            if there.path not in served:
                known = self._by_path.get(there.path)
                ids.setdefault(model_id, known.mmproj is not None if known else there.sees)
        return ids

    def _unknown(self, model_id: str, ids: list[str]) -> ApiError:
        near = difflib.get_close_matches(model_id, ids, n=3, cutoff=0.4) or ids[:3]
        hint = f"; there is {', '.join(near)}" if near else ""
        message = f"there is no model '{model_id}' here{hint}"
        return ApiError(404, "model_not_found", message, param="model", remedy="mlm list")


def _how(model: ServedModel) -> object:
    """Return what decides how a model is run; the reasons for it do not."""
    return model.files, replace(model.config, reasons={})
