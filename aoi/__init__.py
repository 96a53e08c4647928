"""Areas of interest: what to watch."""
