"""Yards as Sentinel-2 sees them, by two independent simulators."""
