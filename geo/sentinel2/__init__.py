"""Sentinel-2 at 10 m: products as they lie on disk, and one place seen many times."""
