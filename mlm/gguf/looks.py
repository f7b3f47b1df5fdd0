"""What a file that is not a GGUF seems to be, told from its first bytes."""

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file it points to"),
    (b"lmgg", "a GGML file from before GGUF, which llama.cpp no longer reads"),
    (b"fmgg", "a GGML file from before GGUF, which llama.cpp no longer reads"),
    (b"tjgg", "a GGML file from before GGUF, which llama.cpp no longer reads"),
    (b"FUGG", "a GGUF file with its bytes swapped"),
    (b"\x7fELF", "a program"),
    (b"\x93NUMPY", "a numpy array"),
)
_PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def describe(head: bytes) -> str:
    """Return what a file that begins with ``head`` (some hundred bytes) is: ``an HTML page``."""
    if not head:
        return "empty"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.startswith(_PICKLE_PROTOCOLS):
        return "a Python pickle, which mlm never opens"
    if not head.strip(b"\x00"):
        return "nothing but zeros, a download that was never filled"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return "an HTML page, perhaps an error message saved under this name"
    if head[8:9] == b"{" and len(head) > 8:
        return "a safetensors file, which has to be converted to GGUF first"
    if text.startswith((b"{", b"[")):
        return "a JSON document, perhaps an error message saved under this name"
    return "something else"
