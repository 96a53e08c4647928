"""Sentinel-2 at 10 m: products as they lie on disk, and one place seen many times."""

OCCUPANCY_PRODUCTS = (
    "Sentinel-2 products and PlanetScope's surface reflectance (ortho_analytic_4b_sr or 8b_sr)"
)
"""For sentences: what occupancy can be told from."""
