"""Wagons one by one, on images of about a metre and finer."""

TILE_PX = 1952
"""Edge of a tile's core in work pixels unless one is asked for: with its halo a window of a large scene is
no larger than a scene of 2,048 pixels, which is looked at whole, so that memory is level above that."""
