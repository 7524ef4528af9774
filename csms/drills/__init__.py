"""Failure drills: break the running system on purpose and count what is left. Nothing here is imported by the product."""
