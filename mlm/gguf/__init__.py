"""The room that reads GGUF headers, and believes none of them before checking it."""
