"""The second simulator: cutouts pasted on a canvas."""
