"""The gateway: OpenAI's API over a pool of workers."""
