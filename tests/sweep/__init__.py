"""Awkward inputs of every kind through the real commands. CONTRIBUTING.md says how to run them."""
