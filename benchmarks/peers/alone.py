"""railwatch by itself on a raster of some size, with its own network: python alone.py RASTER THREADS."""

from __future__ import annotations

import json
import sys
import time

import scene as scenes


def main() -> None:
    """Count the wagons of a whole raster once and print clock and memory, those of the process included."""
    raster, threads = sys.argv[1], int(sys.argv[2])
    from detector.backends import find
    from detector.tensor_file import located
    from detector.wagons.detector import WagonDetector
    from detector.wagons.weights import SHIPPED, OpenVinoMaps, load_head
    from geo import open_scene

    with located(None, SHIPPED) as path:
        head = load_head(path)
        form = next(iter(find(path, head.checksum).values()))
        detector = WagonDetector(head, network=OpenVinoMaps(form, threads))
    began, cpu = time.perf_counter(), time.process_time()
    found = detector.detect(open_scene(raster))
    clock = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    sys.stdout.write(
        json.dumps({**clock, "boxes": len(found.frame), "peak_mb": round(scenes.peak_mb())}) + "\n"
    )


if __name__ == "__main__":
    main()
