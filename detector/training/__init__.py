"""Fitting and scoring the detectors; nothing here is needed to count."""
