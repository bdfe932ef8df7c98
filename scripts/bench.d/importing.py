"""Loading, removing and mounting an image beside other programs: see scripts/bench-import."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import report

IMAGE, SCRATCH = pathlib.Path(os.environ["IMAGE"]), pathlib.Path(os.environ["SCRATCH"])
LAYERCTL, REPO = os.environ["LAYERCTL"], pathlib.Path(os.environ["REPO"])
OCI, DOCKER, MERGED = IMAGE / "oci", IMAGE / "docker.tar", SCRATCH / "merged"
OURS = [LAYERCTL, "--root", str(SCRATCH / "cache")]
PODMAN = ["podman", "--root", str(SCRATCH / "store"), "--runroot", str(SCRATCH / "run"),
          "--storage-driver", "overlay"]


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(*command):
    """Seconds of a command that must succeed; what is to be written from before is written first."""
    os.sync()
    started = time.perf_counter()
    run(*command)
    return time.perf_counter() - started


def count():
    """How many layers the image has, and how many entries they have together."""
    names = subprocess.run(["tar", "-tf", DOCKER], capture_output=True, text=True, check=True).stdout.split()
    layers = [name for name in names if name.endswith(".tar") and "/" not in name]
    listed = [subprocess.run(f"tar -xOf {DOCKER} {name} | tar -t", shell=True, capture_output=True, check=True)
              for name in layers]
    return len(layers), sum(listing.stdout.count(b"\n") for listing in listed)


def fresh():
    """Empties the scratch directory."""
    for name in ("store", "run", "cache", "bundle"):
        shutil.rmtree(SCRATCH / name, ignore_errors=True)
    MERGED.mkdir(parents=True, exist_ok=True)


def first_find():
    """Everything below the mount looked at once, right after mounting."""
    return timed("find", MERGED, "-printf", "%s")


def load(cells):
    fresh()
    cells["layerctl load"].append(timed(*OURS, "load", "-q", "-i", DOCKER))
    cells["podman load"].append(timed(*PODMAN, "load", "-q", "-i", DOCKER))


def pull(cells):
    fresh()
    cells["layerctl load"].append(timed(*OURS, "load", "-q", "-i", OCI))
    cells["podman pull oci:"].append(timed(*PODMAN, "pull", "-q", f"oci:{OCI}:bench"))
    cells["umoci unpack"].append(timed("umoci", "unpack", "--image", f"{OCI}:bench", SCRATCH / "bundle"))


def rmi(cells):
    fresh()
    run(*OURS, "load", "-q", "-i", DOCKER)
    run(*PODMAN, "load", "-q", "-i", DOCKER)
    cells["layerctl rmi"].append(timed(*OURS, "rmi", "localhost/bench:1"))
    cells["podman rmi"].append(timed(*PODMAN, "rmi", "localhost/bench:1"))


def unmount():
    run("umount", MERGED)
    # The server of the mount ends a little later than the mount.
    time.sleep(0.3)


def mount(cells):
    fresh()
    run(*OURS, "load", "-q", "-i", DOCKER)
    for _ in range(3):
        cells["layerctl mount"].append(timed(*OURS, "mount", "localhost/bench:1", MERGED))
        unmount()


def find(cells):
    fresh()
    run(*OURS, "load", "-q", "-i", DOCKER)
    run("umoci", "unpack", "--image", f"{OCI}:bench", SCRATCH / "bundle")
    tree = SCRATCH / "bundle/rootfs"
    run("find", tree, "-printf", "%s")
    run(*OURS, "mount", "localhost/bench:1", MERGED)
    cells["layerfs, cached image"].append(first_find())
    unmount()
    run("fuse-overlayfs", "-o", f"lowerdir={tree}", MERGED)
    cells["fuse-overlayfs, unpacked tree"].append(first_find())
    unmount()


WORK = {
    "load": (load, "docker-archive", ["layerctl load", "podman load"]),
    "pull": (pull, "gzipped OCI directory", ["layerctl load", "podman pull oci:", "umoci unpack"]),
    "rmi": (rmi, "removal", ["layerctl rmi", "podman rmi"]),
    "mount": (mount, "mounting", ["layerctl mount"]),
    "find": (find, "first find", ["layerfs, cached image", "fuse-overlayfs, unpacked tree"]),
}


def table(results):
    """The lines of a table: median (least..most), and how many times ours that is."""
    rows = [["", "milliseconds", "times ours"]]
    for name, cells in results["work"].items():
        medians = {who: statistics.median(seconds) for who, seconds in cells.items()}
        ours = next(iter(medians.values()))
        for who, seconds in cells.items():
            spread = f"({report.milliseconds(min(seconds))}..{report.milliseconds(max(seconds))})"
            rows.append([f"{WORK[name][1]}: {who}", f"{report.milliseconds(medians[who])} {spread}",
                         f"x{medians[who] / ours:.2f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["| " + " | ".join(f"{text:{w}}" for text, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


def save(results):
    facts = results["machine"]
    raw = REPO / "docs/performance" / f"{facts['date']}-import.json"
    raw.write_text(json.dumps(results, indent=1) + "\n")
    with open(REPO / "docs/performance.md", "a") as page:
        page.write(f"\n## {facts['date']}: the cache\n\n{facts['processor']}, {facts['memory']}, Linux "
                   f"{facts['kernel']}, {results['backing']}; {results['image']}; {results['versions']}.\n"
                   f"`scripts/bench-import -r {results['rounds']} --save`, raw figures in "
                   f"`performance/{raw.name}`. Each cell: median (least..most).\n\n")
        page.write("\n".join(table(results)) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-import")
    parser.add_argument("-r", metavar="ROUNDS", type=int, default=5)
    parser.add_argument("-w", metavar="WORK,...", default=",".join(WORK))
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    names = given.w.split(",")
    if unknown := set(names) - set(WORK):
        parser.error(f"unknown work {', '.join(unknown)}: {', '.join(WORK)}")
    layers, entries = count()
    versions = [subprocess.run([name, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
                for name in ("podman", "umoci", "fuse-overlayfs")]
    SCRATCH.mkdir(parents=True, exist_ok=True)
    where = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", SCRATCH], capture_output=True, text=True)
    results = {"machine": report.machine(), "backing": where.stdout.strip(), "rounds": given.r,
               "image": f"{DOCKER.stat().st_size / 1e9:.2f} GB in {layers} layers, {entries} entries",
               "versions": ", ".join(versions),
               "work": {name: {who: [] for who in WORK[name][2]} for name in names}}
    try:
        for number in range(given.r):
            for name in names:
                print(f"round {number + 1} of {given.r}: {name}", file=sys.stderr)
                WORK[name][0](results["work"][name])
    finally:
        subprocess.run(["umount", "-l", MERGED], stderr=subprocess.DEVNULL)
        shutil.rmtree(SCRATCH, ignore_errors=True)
    print(results["image"], *table(results), sep="\n")
    if given.save:
        save(results)


main()
