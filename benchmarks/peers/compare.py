"""railwatch beside its peers: the same rasters, the same network, in turn, several rounds; table and figure.

    python benchmarks/peers/compare.py --sizes 2048 4096 --rounds 3        # what `make benchmark` runs
    python benchmarks/peers/compare.py --parts startup job                 # parts of it

Each contestant lives in an environment of its own, made here from the pinned list beside this file: the only
thing that needs a network, and only the package registry. Nothing downloads weights: the network has random
ones. Results go to benchmarks/results.json; docs/benchmarks.md and its figure are written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import scene as scenes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PEERS = ("deepforest", "sahi")
PARTS = ("startup", "job", "alone", "network", "oracle", "angles", "merge", "cuda")
ALONE = {"alone", "cuda"}  # no peer takes part

# Who runs the sliding windows around the same network, and how: contestant, setting, words.
PIPELINES = (
    ("forward", "", "bare forward passes"),
    ("railwatch", "", "railwatch"),
    ("sahi", "", "SAHI, as it is"),
    ("sahi", "inference mode", "SAHI, in inference mode"),
    ("deepforest", "single", "DeepForest, single"),
    ("deepforest", "window", "DeepForest, window"),
)


def environment(name: str, folder: Path) -> Path:
    """The Python of a peer's environment, made if it isn't there."""
    python = folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        say(f"making the environment of {name} (several gigabytes; the first time takes minutes)")
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        listed = HERE / f"{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", listed], check=True)
    return python


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measured(command: list[Any], threads: int) -> tuple[dict[str, float], str]:
    """Wall and CPU seconds and peak memory of a whole process, and what it printed."""
    # With bytecode, as an installation has it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2):
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu}, done.stdout


def drive(python: Path, job: dict[str, Any]) -> dict[str, float]:
    """One measurement by `driver.py`: its own clock around the one call, and that of the whole process."""
    whole, out = measured([python, HERE / "driver.py", json.dumps(job)], job["threads"])
    return {**json.loads(out.strip().splitlines()[-1]), "process_seconds": whole["seconds"]}


def last_line(error: RuntimeError) -> str:
    """What a program said at its end: the error, without the traceback and its paths on this machine."""
    return str(error).strip().rpartition("\n")[2][-300:]


class Bench:
    """The rounds: results by part, size and contestant."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work = options, work
        self.pythons = dict.fromkeys(("railwatch", "forward"), Path(sys.executable))
        if not ALONE.issuperset(options.parts):
            self.pythons |= {name: environment(name, options.environments) for name in PEERS}
        self.rows: list[dict[str, Any]] = []

    def run(self, part: str) -> None:
        """Measure one part."""
        options = self.options
        if part == "startup":
            self.startup(options.rounds)
        elif part == "job":
            self.job(options.job_size, options.rounds)
        elif part == "alone":
            for side in options.sizes:
                self.alone(side, 1 if side > 8192 else options.rounds)
        elif part == "network":
            for side in options.network_sizes:
                self.pipelines("network", "retinanet", side, options.rounds)
        elif part == "oracle":
            for side in options.sizes:
                self.pipelines("oracle", "oracle", side, options.rounds)
        elif part == "angles":
            for angle_deg in (0.0, 10.0, 20.0, 35.0):
                self.pipelines("angles", "oracle", 2048, 1, angle_deg)
        elif part == "merge":
            self.merge(options.rounds)
        else:
            self.cuda()

    def raster(self, side: int) -> Path:
        path = self.work / f"code-{side}.tif"
        if not path.exists():
            scenes.write_raster(str(path), scenes.position_code(side))
        return path

    def add(self, part: str, case: str, who: str, round_number: int, **values: Any) -> None:
        self.rows.append({"part": part, "case": case, "who": who, "round": round_number, **values})
        say(f"{part} {case} {who}: " + json.dumps(values))

    def pipelines(self, part: str, network: str, side: int, rounds: int, angle_deg: float = 0.0) -> None:
        """All contestants in turn, again and again: what disturbs the machine disturbs all of them."""
        truth = len(scenes.yards(side, angle_deg)) if network == "oracle" else 0
        for number in range(rounds):
            for contestant, setting, words in PIPELINES:
                if network == "oracle" and contestant == "forward":
                    continue
                job = {
                    "contestant": contestant,
                    "setting": setting,
                    "network": network,
                    "raster": str(self.raster(side)),
                    "side": side,
                    "angle_deg": angle_deg,
                    "threads": self.options.threads,
                    "rest_s": 0.5,  # threads that libraries start when they are imported spin for a while
                }
                case = f"{side} px" if part != "angles" else f"{angle_deg:g} degrees"
                try:
                    found = drive(self.pythons[contestant], job)
                except RuntimeError as error:
                    self.add(part, case, words, number, error=last_line(error))
                    continue
                self.add(part, case, words, number, **found, truth=truth)

    def photo(self, side: int) -> Path:
        """A mosaic of the sample tiles, made in a process of its own: it holds all of it in memory."""
        image = self.work / f"photo-{side}.tif"
        if not image.exists():
            code = (
                "import sys; from detect import mosaic; from peers import scene; "
                "scene.write_raster(sys.argv[1], mosaic(int(sys.argv[2])).transpose(2, 0, 1))"
            )
            paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
            subprocess.run(
                [sys.executable, "-c", code, image, str(side)], env={**os.environ, **paths}, check=True
            )
        return image

    def alone(self, side: int, rounds: int) -> None:
        """railwatch with its own network: how time and memory grow with the raster."""
        for number in range(rounds):
            command = [sys.executable, HERE / "alone.py", self.photo(side), self.options.threads]
            whole, out = measured(command, self.options.threads)
            inner = json.loads(out.splitlines()[-1])
            self.add("alone", f"{side} px", "railwatch", number, **inner, process_cpu=whole["cpu_seconds"])

    def job(self, side: int, rounds: int) -> None:
        """From file to count, whole processes: each contestant's default and its fastest honest setting."""
        image = self.photo(side)
        base = {"raster": str(image), "side": side, "threads": self.options.threads, "network": "retinanet"}
        for number in range(rounds):
            for backend in ("openvino", "torch"):
                command = [sys.executable, "-m", "railwatch", "detect", image, "--json", "--backend", backend]
                clock, out = measured(command, self.options.threads)
                cars = json.loads(out)["images"][0]["count"]
                self.add("job", f"{side} px", f"railwatch --backend {backend}", number, **clock, boxes=cars)
            for contestant, setting, words in PIPELINES[2:]:
                whole, out = measured(
                    [
                        self.pythons[contestant],
                        HERE / "driver.py",
                        json.dumps({**base, "contestant": contestant, "setting": setting}),
                    ],
                    self.options.threads,
                )
                self.add("job", f"{side} px", words, number, **whole, inner=json.loads(out.splitlines()[-1]))

    def startup(self, rounds: int) -> None:
        from PIL import Image

        picture = self.work / "small.png"
        Image.fromarray(scenes.position_code(640)[:, :400].transpose(1, 2, 0).copy()).save(picture)
        ours = [sys.executable, "-m", "railwatch"]
        cases = {
            "railwatch --help": [*ours, "--help"],
            "railwatch detect, a missing file": [*ours, "detect", self.work / "nowhere.tif"],
            "railwatch detect, no --gsd": [*ours, "detect", picture],
            "railwatch detect, an unknown option": [*ours, "detect", "--nope"],
            "railwatch detect, a wrong ending": [*ours, "detect", picture, "--gsd", 0.5, "--out", "x.doc"],
            "railwatch detect, 640 x 400 pixels": [*ours, "detect", picture, "--gsd", 0.5, "--json"],
            "import sahi.predict, sahi.models.torchvision, torchvision": [
                self.pythons["sahi"],
                "-c",
                "import sahi.predict, sahi.models.torchvision, torchvision",
            ],
            "import deepforest.main": [self.pythons["deepforest"], "-c", "import deepforest.main"],
        }
        for number in range(rounds):
            for words, command in cases.items():
                clock, _ = measured(command, self.options.threads)
                self.add("startup", "", words, number, **clock)

    def merge(self, rounds: int) -> None:
        """Merging boxes of overlapping windows: oriented ones (railwatch) and upright ones (the peers)."""
        for count in (100, 1_000, 10_000, 100_000):
            for number in range(rounds):
                for who in ("railwatch", "sahi", "deepforest"):
                    if who != "railwatch" and count > 10_000 and number:
                        continue
                    try:
                        clock, out = measured(
                            [self.pythons[who], HERE / "merging.py", who, count], self.options.threads
                        )
                    except RuntimeError as error:
                        self.add("merge", f"{count} boxes", who, number, error=last_line(error))
                        continue
                    del clock
                    self.add("merge", f"{count} boxes", who, number, **json.loads(out.splitlines()[-1]))

    def cuda(self) -> None:
        probe = "import torch; print(torch.cuda.is_available())"
        seen = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
        if "True" not in seen.stdout:
            self.add("cuda", "", "this machine has no CUDA GPU: not measured", 0)
            return
        image = self.raster(4096)
        for number in range(self.options.rounds):
            command = [sys.executable, "-m", "railwatch", "detect", image, "--json", "--device", "cuda"]
            clock, _ = measured([*command, "--batch-size", 4], self.options.threads)
            self.add("cuda", "4096 px", "railwatch --device cuda", number, **clock)


def machine() -> dict[str, Any]:
    """Where this was measured, and with what."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
        flags = set(next((line.partition(": ")[2] for line in lines if line.startswith("flags")), "").split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return {
        "processor": name,
        "instructions": [flag for flag in wanted if flag in flags],
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "limited_to": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "versions": {
            name: version(name) for name in ("torch", "torchvision", "openvino", "numpy", "rasterio")
        },
    }


def load() -> float | None:
    """Processes that want to run, on average over a minute: above the cores, others were at work too."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def main() -> None:
    """Measure, and write results, table and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 4096, 8192, 16384])
    parser.add_argument("--network-sizes", type=int, nargs="+", default=[2048])
    parser.add_argument("--job-size", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--environments", type=Path, default=ROOT / ".benchmark")
    parser.add_argument("--keep", action="store_true", help="keep the other parts of earlier results")
    options = parser.parse_args()
    document: dict[str, Any] = {"rows": [], "loads": {}}
    if options.keep and RESULTS.exists():
        document |= json.loads(RESULTS.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        for part in PARTS:
            if part not in options.parts:
                continue
            began = load()
            bench.run(part)
            document["loads"][part] = [began, load()]
            document["rows"] = [row for row in document["rows"] if row["part"] != part]
    document |= {"machine": machine(), "threads": options.threads, "rows": document["rows"] + bench.rows}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    from page import write_page

    write_page(document, ROOT / "docs")


if __name__ == "__main__":
    main()
