"""Public archives to a folder of small scenes: what is there, what is missing, and getting it."""

from railwatch.fetch.fetch import Fetched, FetchResult, fetch
from railwatch.fetch.plan import FetchOptions, Plan, plan

__all__ = ["FetchOptions", "FetchResult", "Fetched", "Plan", "fetch", "plan"]
