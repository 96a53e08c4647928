"""Sentinel-2 products as they lie on disk: found, recognised, and their numbers made reflectance."""
