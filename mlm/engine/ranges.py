"""What a request may ask of the sampler, by the names of the API.

The ranges are OpenAI's where its API reference has the field, else where llama.cpp's samplers make
sense. What the engine itself survives is wider: see `mlm.engine.sampling`.
"""

NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "repeat_penalty": (0.01, 10),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 100),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 1),
    "top_n_sigma": (-1, 100),
    "dynatemp_range": (0, 2),
    "dynatemp_exponent": (0, 100),
}
INTEGERS: dict[str, tuple[int, int]] = {
    "top_k": (0, 2**31 - 1),
    "repeat_last_n": (-1, 2**20),
    "dry_allowed_length": (0, 2**20),
    "dry_penalty_last_n": (-1, 2**20),
    "mirostat": (0, 2),
    "min_tokens": (0, 2**31 - 1),
}
MAX_TOKENS = 2**31 - 1
SEED_RANGE = (-(2**63), 2**63 - 1)
MAX_STOPS, MAX_STOP_CHARS = 16, 512
