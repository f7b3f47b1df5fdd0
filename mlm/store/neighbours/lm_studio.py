"""LM Studio's store: ``publisher/repository/file.gguf``; any other folder of files will do too."""

from mlm.store.names import is_filename, is_repo_id
from mlm.store.neighbours.look import Look, describe_found


def look_at_lm_studio(look: Look) -> None:
    """Note every GGUF file."""
    for path in sorted(look.walk(look.root)):
        if path.suffix.lower() != ".gguf":
            continue
        content = look.model_at(path)
        if content is None:
            continue
        publisher, *rest = path.relative_to(look.root).parts
        repo_id, filename = f"{publisher}/{rest[0]}" if rest else "", "/".join(rest[1:])
        if is_repo_id(repo_id) and filename and is_filename(filename):
            look.note(describe_found(content, filename, repo_id=repo_id), content)
        else:
            look.note(describe_found(content, path.name), content)
