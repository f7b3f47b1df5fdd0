"""The one failure of this room."""

from mlm.errors import IntegrityError


class GGUFError(IntegrityError):
    """The file is not a GGUF model that may be handed to llama.cpp."""

    code = "gguf"
