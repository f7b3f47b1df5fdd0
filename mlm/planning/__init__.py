"""Pure arithmetic: what a model will need, how to run it, which one to take."""
