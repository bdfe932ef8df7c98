"""Results as a table, as a dated section of docs/performance.md, and beside older ones."""
import datetime
import json
import os
import pathlib
import platform
import shlex
import statistics
import sys

REPO = pathlib.Path(os.environ["REPO"])
BASE = "kernel"


def milliseconds(seconds):
    """Three figures that count: 0.123, 1.23, 12.3, 1234."""
    value = seconds * 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def requests(cell):
    """The median of the requests that one run of a workload made, if they were counted."""
    counts = [count.get("total", 0) for count in cell["requests"] if count]
    return int(statistics.median(counts)) if counts else None


def text_of(cell, base):
    """One cell: median (least..most), times the kernel's, and the requests."""
    if not cell["seconds"]:
        return "-"
    median = statistics.median(cell["seconds"])
    text = f"{milliseconds(median)} ({milliseconds(min(cell['seconds']))}.." \
           f"{milliseconds(max(cell['seconds']))})"
    if base and base["seconds"] and base is not cell:
        text += f" x{median / statistics.median(base['seconds']):.2f}"
    count = requests(cell)
    return text if count is None else f"{text} [{count}]"


def table(results):
    """The lines of a table, valid in Markdown too."""
    names = results["contenders"]
    rows = [["milliseconds"] + names]
    for workload, cells in results["workloads"].items():
        rows.append([workload] + [text_of(cells[name], cells.get(BASE)) for name in names])
    rows.append(["peak memory, MiB"] + [f"{results['memory'][name]:.1f}" for name in names])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(f"{text:{w}}" for text, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


LEGEND = "Each cell: median (least..most) xTIMES-THE-KERNEL'S [FUSE requests, write-back included]."


def machine():
    """What the figures depend on."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.partition(": ")[2] for line in info.splitlines() if "model name" in line), "")
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) // (1 << 20)
    return {"date": datetime.date.today().isoformat(), "kernel": platform.release(),
            "processor": f"{os.cpu_count()} x {model or platform.machine()}",
            "memory": f"{memory} GiB"}


def save(results, command):
    """Adds a section to docs/performance.md, and the raw figures beside it."""
    folder = REPO / "docs" / "performance"
    folder.mkdir(exist_ok=True)
    date, number = results["machine"]["date"] + ("-rootless" if results["where"] else ""), 1
    raw = folder / f"{date}.json"
    while raw.exists():
        number += 1
        raw = folder / f"{date}-{number}.json"
    raw.write_text(json.dumps(results, indent=1) + "\n")
    facts = results["machine"]
    with open(REPO / "docs" / "performance.md", "a") as page:
        page.write(f"\n## {raw.stem}\n\n{facts['processor']}, {facts['memory']}, "
                   f"Linux {facts['kernel']}, {results['backing']}{results['where']}; {results['lower']}.\n"
                   f"`{command}`, raw figures in `performance/{raw.name}`. {LEGEND}\n\n")
        page.write("\n".join(table(results)) + "\n")
    print(f"saved docs/performance.md and {raw.relative_to(REPO)}")


def drift(old, new, workload):
    """How much slower the machine itself was this time: what the kernel's overlayfs lost."""
    cells = [results["workloads"].get(workload, {}).get(BASE) for results in (old, new)]
    if not all(cell and cell["seconds"] for cell in cells):
        return 1.0
    before, after = (statistics.median(cell["seconds"]) for cell in cells)
    return max(1.0, after / before)


def worse(old, new, name="layerfs"):
    """Yields a line for each row that got slower by more than the spread and the drift of the
    machine, or asks more often."""
    for workload, cells in new["workloads"].items():
        before, after = old["workloads"].get(workload, {}).get(name), cells.get(name)
        if not before or not after or not before["seconds"]:
            continue
        if not after["seconds"]:
            yield f"{workload}: failed"
            continue
        spread = max(max(c["seconds"]) - min(c["seconds"]) for c in (before, after))
        medians = [statistics.median(c["seconds"]) for c in (before, after)]
        slower = drift(old, new, workload)
        if medians[1] > medians[0] * slower + spread:
            yield f"{workload}: {milliseconds(medians[0])} -> {milliseconds(medians[1])} ms, " \
                  f"spread {milliseconds(spread)}, kernel x{slower:.2f}"
        counts = [requests(c) for c in (before, after)]
        if None not in counts and counts[1] > counts[0] * 1.02 + 10:
            yield f"{workload}: {counts[0]} -> {counts[1]} requests"


if __name__ == "__main__":
    # report.py RAW.json COMMAND...: saves what was measured where this file could not be written.
    save(json.loads(pathlib.Path(sys.argv[1]).read_text()), shlex.join(sys.argv[2:]))
