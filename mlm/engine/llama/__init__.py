"""llama.cpp behind a few small classes. Only this package imports llama_cpp.

Only the low-level API is used. llama.cpp aborts the whole process on a bad argument, so every
class here checks what could trip it, and the package is imported in worker processes only. A
`Context` and its samplers belong to one thread; a `Vocabulary` may be read by any.
"""
