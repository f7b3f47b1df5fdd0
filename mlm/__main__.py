"""The ``mlm`` command, also as ``python -m mlm``.

Somebody who pressed Tab is answered before anything that takes time is imported.
"""

import gc
import os
import sys

# What imports make stays. With CPython's 700, looking through it again and again for what could be
# thrown away takes a twelfth of the time to a prompt.
_OBJECTS_UNTIL_COLLECTION = 10_000
_INTERRUPTED = 130  # as `mlm.errors.ExitCode` has it, which is not there yet


def main() -> None:
    """Run the command line, or tell a shell what a word may become."""
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION)
    if shell := os.environ.get("_MLM_COMPLETE"):
        from mlm.completion.answer import main as complete

        complete(shell)
        return
    try:
        from mlm.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
