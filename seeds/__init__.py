"""The published observations that the history starts from."""
