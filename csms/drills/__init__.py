"""Failure drills: break the running system on purpose and count what is left. The product imports nothing of it."""
