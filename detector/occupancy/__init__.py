"""How much of a yard is occupied, from images whose pixels are larger than a wagon."""
