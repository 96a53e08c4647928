"""Wagons to decisions: pipeline, observations, baseline, charts, report and command line."""

__version__ = "0.1.0"
