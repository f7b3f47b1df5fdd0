"""The offline tour: a model and a hub inside the package."""
