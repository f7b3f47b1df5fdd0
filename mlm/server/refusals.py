"""Why a model cannot be had now, as an answer to the client."""

from mlm.errors import DoesNotFitError, MlmError
from mlm.planning.evict import Room
from mlm.server.errors import ApiError, to_api_error
from mlm.server.resident import Resident
from mlm.server.setbacks import Refusal
from mlm.units import format_duration, format_size


def resting(resident: Resident, refusal: Refusal) -> ApiError:
    """It has failed too often."""
    return ApiError(
        503,
        refusal.code,
        f"the model '{resident.model.model_id}' is not available: {refusal.reason}",
        retry_after_s=refusal.retry_after_s,
    )


def load_failed(resident: Resident, error: MlmError) -> ApiError:
    """It was tried, and failed."""
    code = error.code if error.code == "engine_missing" else "load_failed"
    message = f"the model '{resident.model.model_id}' cannot be loaded: {error.message}"
    return ApiError(503, code, message, remedy=error.remedy, retry_after_s=5)


def too_large(resident: Resident, room: Room) -> ApiError:
    """It would not fit if it were alone."""
    model = resident.model
    short = [
        f"{format_size(needed)} of {format_size(limit)} on {device}"
        for device, limit in room.memory.items()
        if (needed := model.memory_by_device.get(device, 0)) > limit
    ]
    message = f"'{model.model_id}' needs {' and '.join(short)}"
    return to_api_error(DoesNotFitError(message, remedy=f"mlm plan {model.model_id} --ctx 2048"))


def no_room_beside(resident: Resident, pinned: list[Resident], room: Room) -> ApiError:
    """It does not fit beside the models that are pinned."""
    model, names = resident.model, [other.model.model_id for other in pinned]
    taken = [other.memory_by_device for other in pinned]
    short = [
        f"{format_size(needed)} of the {format_size(max(left, 0))} that they leave on {device}"
        for device, limit in room.memory.items()
        for left in [limit - sum(memory.get(device, 0) for memory in taken)]
        if (needed := model.memory_by_device.get(device, 0)) > left
    ]
    wants = f"needs {' and '.join(short)}" if short else f"is one more than {room.max_models}"
    message = f"'{model.model_id}' {wants}: pinned is {', '.join(names)}"
    return to_api_error(DoesNotFitError(message, remedy=f"mlm unpin {names[0]}"))


def queue_full(resident: Resident, wait_s: float) -> ApiError:
    """Too many wait for it already."""
    return ApiError(
        429,
        "queue_full",
        f"{resident.admitted} requests for '{resident.model.model_id}' are waiting already",
        remedy="try again soon, or serve it with a larger --max-queue",
        retry_after_s=wait_s,
    )


def too_many_waiting(n_waiting: int, wait_s: float) -> ApiError:
    """Too many wait for models that are not loaded."""
    return ApiError(
        503,
        "overloaded",
        f"{n_waiting} requests wait for models to be loaded already",
        remedy="try again later, or serve fewer models",
        retry_after_s=wait_s,
    )


def waited_too_long(resident: Resident, max_wait_s: float, wait_s: float) -> ApiError:
    """Its turn has not come in time."""
    what = "a free slot" if resident.state == "ready" else "the model to be loaded"
    return ApiError(
        503,
        "waited_too_long",
        f"the request has waited {format_duration(max_wait_s)} for {what}: "
        f"'{resident.model.model_id}'",
        remedy="try again later, or serve with a longer --max-wait",
        retry_after_s=wait_s,
    )


def busy(resident: Resident) -> ApiError:
    """It is in use, and so is not unloaded."""
    model_id = resident.model.model_id
    doing = "is being loaded"
    if resident.state != "starting":
        doing = f"has {resident.admitted} {'request' if resident.admitted == 1 else 'requests'}"
    message = f"'{model_id}' {doing}: a busy model is not unloaded"
    return ApiError(409, "model_busy", message, remedy="`mlm ps` shows when it is idle")


def is_pinned(resident: Resident) -> ApiError:
    """It is to stay in memory, and so is not unloaded."""
    model_id = resident.model.model_id
    message = f"'{model_id}' is pinned: it stays in memory"
    return ApiError(409, "model_pinned", message, remedy=f"mlm unpin {model_id}")
