"""Pixels to wagons: the networks, their training and evaluation, and the simulator."""
