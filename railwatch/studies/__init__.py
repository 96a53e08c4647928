"""Simulation studies of the verdicts."""
