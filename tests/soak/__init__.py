"""What a server must survive. Tests run a little of each suite, `scripts/soak_server.py` all of it.

A suite is a module with ``Size`` and its ``FULL`` and ``SHORT`` values; ``UNIT``, the field that
says how much of it; ``endure(folder, size)``, which returns figures; ``NEVER``, the names of those
that must be 0 wherever it runs; and ``LIMITS``, what the others must not exceed on a machine that
has nothing else to do.
"""
