"""Public image archives: searched by STAC, read by range requests, cut down to one area.

Nothing here is reached unless a user asks for it (`railwatch fetch`, `railwatch watch`).
"""
