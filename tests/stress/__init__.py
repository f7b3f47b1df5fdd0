"""What the store must survive, as cases that tests run a few of and `scripts/stress_store.py` all.

A suite is a module with ``cases(rounds, seed)``, ``endure(case, folder)`` — which raises
AssertionError where the store broke a promise, and else returns figures — and ``LIMITS``, what the
figures of all cases together must keep to.
"""
