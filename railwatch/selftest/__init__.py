"""railwatch held to its bundled sample tiles."""
