"""Other tools on this machine that keep model files: what they have, read without trust."""
