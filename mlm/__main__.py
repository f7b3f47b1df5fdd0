"""The ``mlm`` command, also as ``python -m mlm``.

Somebody who pressed Tab is answered before anything that takes time is imported.
"""

import os


def main() -> None:
    """Run the command line, or tell a shell what a word may become."""
    if shell := os.environ.get("_MLM_COMPLETE"):
        from mlm.completion.answer import main as complete

        complete(shell)
        return
    from mlm.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
