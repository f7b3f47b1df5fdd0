"""Hugging Face caches: another one than mlm's, or what others have put into mlm's own."""

import os
from dataclasses import replace
from pathlib import Path

from mlm.store.inventory import describe_cached
from mlm.store.neighbours.look import Look
from mlm.store.survey import survey_cache


def look_at_hugging_face(look: Look, hub_cache: Path) -> None:
    """Note every GGUF file of every commit; ``hub_cache`` is mlm's own."""
    is_own = look.root == Path(os.path.realpath(hub_cache))
    for repo in survey_cache(hub_cache if is_own else look.root):
        for link in repo.links:
            if not link.filename.lower().endswith(".gguf"):
                continue
            if link.blob is None:
                look.skip(link.path, "it leads to no blob of its repository")
                continue
            content = look.model_at(link.path)
            if content is not None:
                file = describe_cached(link.path, repo.repo_id, link.commit, link.filename)
                look.note(file if is_own else replace(file, origin="import"), content)
