"""The version, in a module that imports nothing: observations, pages and corrections say it."""

__version__ = "0.1.0"
