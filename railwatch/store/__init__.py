"""The store: observations, chips and their place on the ground."""

DEFAULT_STORE = "railwatch-store"
"""The store of a run, and of what looks back on it, where nobody names one."""
