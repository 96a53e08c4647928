"""docs/benchmarks.md and its figure, from the results."""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

TITLES = {
    "startup": "Start-up: whole processes",
    "job": "From file to count: whole processes",
    "alone": "railwatch by itself, by size",
    "network": "Sliding windows around the same RetinaNet",
    "oracle": "Sliding windows around no network (a stub that answers from truth)",
    "angles": "Counting a full yard at an angle",
    "merge": "Merging boxes",
    "cuda": "CUDA",
}
NOTES = {
    "startup": (
        "What an import of the peers takes stands beside ours, since they have no command line of this kind."
    ),
    "job": (
        "A mosaic of the sample tiles at 0.5 m. railwatch counts with its own network; the peers run a "
        "RetinaNet (ResNet-50, random weights, 512-pixel tiles at their native size), which is what their "
        "users would train. Time is that of the whole process, imports included."
    ),
    "alone": (
        "With its own network in its preferred form, on mosaics of the sample tiles at 0.5 m, without the "
        "start-up. Memory is that of the whole process."
    ),
    "network": (
        "The same network, windows of at most 512 pixels at their native size, at least 64 pixels of "
        "overlap, random weights: what differs is the pipeline. *bare forward passes* are the network on as "
        "many windows of 512 and nothing else: nearly all of the work. railwatch makes them only as large as "
        "the raster needs (480 pixels at 2048) and lays the weights out channel by channel."
    ),
    "oracle": (
        "The network is replaced by a stub that reads off the pixels which window it is shown and answers "
        "with the true boxes in it: everything but the network."
    ),
    "angles": (
        "Upright boxes of neighbouring wagons overlap when a yard lies at an angle, and merging takes them "
        "for one; oriented boxes don't. The network is the stub, so every wagon is seen."
    ),
    "merge": (
        "Wagons in rows, half of them seen twice. The merge alone, warm. What DeepForest does in the end is "
        "torchvision's `nms`, which is what stands here, without the table around it."
    ),
}


def _middle(rows: list[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else None


def _grouped(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["case"], row["who"]].append(row)
    return groups


def _table(part: str, rows: list[dict[str, Any]]) -> list[str]:
    groups = _grouped(rows)
    head = ["case", "who", "median s", "min s", "max s", "CPU s", "to railwatch"]
    memory = any("peak_mb" in row for row in rows)
    truth = any(row.get("truth") for row in rows)
    head += ["peak MB"] * memory + ["boxes"] + ["truth"] * truth
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (case, who), group in groups.items():
        errors = [row["error"] for row in group if "error" in row]
        good = [row for row in group if "seconds" in row]
        if not good:
            lines.append(
                f"| {case} | {who} | {'failed: ' + errors[0] if errors else '-'} |" + " |" * (len(head) - 3)
            )
            continue
        ours = next((g for (c, w), g in groups.items() if c == case and w.startswith("railwatch")), None)
        seconds = [row["seconds"] for row in good]
        ratio = "-"
        if ours and part not in {"startup", "alone"} and all("cpu_seconds" in row for row in (*ours, *good)):
            ratio = f"{_middle(good, 'cpu_seconds') / _middle(ours, 'cpu_seconds'):.2f}"  # type: ignore[operator]
        cells = [
            case,
            who,
            *(f"{value:.2f}" for value in (statistics.median(seconds), min(seconds), max(seconds))),
        ]
        cells += [f"{_middle(good, 'cpu_seconds'):.2f}", ratio]
        cells += [f"{_middle(good, 'peak_mb'):.0f}" if _middle(good, "peak_mb") else "-"] * memory
        cells += [f"{_middle(good, 'boxes'):.0f}" if _middle(good, "boxes") is not None else "-"]
        cells += [f"{_middle(good, 'truth') or 0:.0f}"] * truth
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def write_page(document: dict[str, Any], docs: Path) -> None:
    """Write the page and the figure into a folder of documentation."""
    machine, rows = document["machine"], document["rows"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    text = [
        "# Beside its peers",
        "",
        "`make benchmark` measures railwatch beside [DeepForest](https://deepforest.readthedocs.io) 2.1.0 "
        "and [SAHI](https://github.com/obss/sahi) 0.12.8: each in a pinned environment of its own, on the "
        "same rasters, in turn, over several rounds. This page and its figure are written by that command.",
        "",
        f"- Machine: {machine['processor']} ({', '.join(machine['instructions'])}), {machine['cores']} "
        f"cores, {document['threads']} threads; {machine['system']}, Python {machine['python']}; {versions}."
        + (f" Instructions limited to {machine['limited_to']}." if machine.get("limited_to") else ""),
        "- Where the load of a part was above the number of cores, other programs were at work too: then "
        "wall times are longer than they would be alone, and the CPU seconds, from which the ratios are, say "
        "more.",
        "- *to railwatch* is CPU seconds over those of railwatch's first row of the same case.",
        "",
        "![CPU seconds by size of the raster](images/benchmarks.svg)",
    ]
    for part, title in TITLES.items():
        chosen = [row for row in rows if row["part"] == part]
        if not chosen:
            continue
        text += ["", f"## {title}", ""]
        if part in NOTES:
            text += [NOTES[part], ""]
        if (loads := document["loads"].get(part)) and None not in loads:
            text += [f"Load: {loads[0]} at the beginning, {loads[1]} at the end.", ""]
        if part == "cuda" and not any("seconds" in row for row in chosen):
            text += [chosen[0]["who"][:1].upper() + chosen[0]["who"][1:] + "."]
            continue
        text += _table(part, chosen)
    (docs / "benchmarks.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    _draw(rows, docs / "images" / "benchmarks.svg")


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "railwatch"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    shown = [row for row in rows if row["part"] == "oracle" and "seconds" in row]
    groups = _grouped(shown)
    measured = any("peak_mb" in row for row in shown)
    right.set_visible(measured)
    for who in dict.fromkeys(who for _, who in groups):
        points = sorted(
            (int(case.split()[0]), group) for (case, name), group in groups.items() if name == who
        )
        for axes, key in ((left, "cpu_seconds"), (right, "peak_mb"))[: 1 + measured]:
            axes.plot(
                [side for side, _ in points], [_middle(group, key) for _, group in points], "o-", label=who
            )
    for axes, label in ((left, "CPU seconds, without a network"), (right, "peak memory, MB"))[: 1 + measured]:
        axes.set(xscale="log", yscale="log", xlabel="side of the raster, pixels", ylabel=label)
        sides = sorted({int(case.split()[0]) for case, _ in groups})
        axes.set_xticks(sides, [f"{side:,}" for side in sides])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    if groups:
        left.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
