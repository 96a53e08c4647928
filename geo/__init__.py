"""Scenes and tiles: where the pixels are."""
