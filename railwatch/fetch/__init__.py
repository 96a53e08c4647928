"""Public archives to a folder of small scenes: what is there, what is missing, and getting it."""

from railwatch.fetch.fetch import Fetched, FetchOptions, FetchResult, Plan, fetch, plan

__all__ = ["FetchOptions", "FetchResult", "Fetched", "Plan", "fetch", "plan"]
