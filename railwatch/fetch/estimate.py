"""What fetching would cost: the requests and bytes of one scene, from its headers, times their number."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from geo.catalogue.cut import measure_scene
from geo.catalogue.profiles import profile_of, signer_of

if TYPE_CHECKING:
    from railwatch.fetch.plan import Plan

__all__ = ["estimate"]


def estimate(planned: Plan) -> dict[str, Any]:
    """Estimate requests and bytes; the headers of the latest scene are read, and none of its pixels.

    Args:
        planned: By `railwatch.fetch.plan`.

    Returns:
        ``scenes``, and about how many ``requests`` and ``bytes``; None where the images have no list of
        tiles.

    Raises:
        NetworkError: The headers can't be had.
    """
    number = len(planned.scenes)
    if not number:
        return {"scenes": 0, "requests": 0, "bytes": 0}
    network = planned.options.network()
    sign = signer_of(profile_of(planned.options.source), network)
    with TemporaryDirectory(prefix="railwatch-fetch-") as name:
        one = measure_scene(network, planned.scenes[-1][0], planned.area, Path(name), sign=sign)
    if one is None:
        return {"scenes": number, "requests": None, "bytes": None}
    return {"scenes": number, "requests": one.requests * number, "bytes": one.bytes * number}
