"""Model files on this machine: brought in intact, found again, removed."""
