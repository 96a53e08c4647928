"""What is found of a test's products: exactly one, or the one sentence that refuses it."""

from __future__ import annotations

from pathlib import Path

from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product


def one(*paths: Path) -> Product:
    """The only product there; none may be refused."""
    products, refusals = find_products(paths)
    assert [refusal.reason for refusal in refusals] == []
    (product,) = products
    return product


def refused(*paths: Path) -> str:
    """Why the only product there is refused: one line that ends as a sentence does."""
    products, refusals = find_products(paths)
    assert products == []
    (refusal,) = refusals
    assert refusal.reason.endswith(".")
    assert "\n" not in refusal.reason
    return refusal.reason
