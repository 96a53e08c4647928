"""Sample products of Sentinel-2: a simulated yard over two years."""
