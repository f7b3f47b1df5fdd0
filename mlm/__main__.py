"""``python -m mlm`` is the ``mlm`` command."""

from mlm.cli.app import main

if __name__ == "__main__":
    main()
