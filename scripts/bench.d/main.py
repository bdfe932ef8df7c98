"""The benchmark: every workload on every contender in turn, several rounds."""
import argparse
import json
import mmap
import os
import pathlib
import shlex
import subprocess
import sys
import time
import lower
import report
from contenders import Contender
from workloads import WORKLOADS
import workloads_change  # enters its workloads after the others


FRESH = 5 << 28  # bytes; the most that a workload fills of caches, and a quarter more


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("-c", metavar="CONTENDER,...", default="native,kernel,fo1,fo2,layerfs")
    parser.add_argument("-w", metavar="WORKLOAD,...", default=",".join(WORKLOADS))
    parser.add_argument("-r", metavar="ROUNDS", type=int, default=5)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--rootless", action="store_true")
    parser.add_argument("--raw", metavar="FILE.json", type=pathlib.Path)
    parser.add_argument("--compare", metavar="FILE.json", type=pathlib.Path)
    given = parser.parse_args()
    given.w, given.c = given.w.split(","), given.c.split(",")
    if unknown := set(given.w) - set(WORKLOADS):
        parser.error(f"unknown workload {', '.join(unknown)}")
    return given


def settle():
    """Lets no workload pay for what an earlier one has left to write, nor for memory that a hypervisor
    has taken back meanwhile: two seconds after it was freed, a page costs microseconds again."""
    os.sync()
    with mmap.mmap(-1, FRESH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, FRESH, mmap.PAGESIZE):
            memory[page] = 1


def measure(contender, names, cells):
    """One mount of one contender: runs the workloads and enters seconds and requests. The seconds
    end before what the kernel holds back is written; the requests include that."""
    settle()
    if seconds := contender.mount():
        cells["mount"]["seconds"].append(seconds)
    try:
        lower.cool(contender.backing())
        for name in filter(contender.takes_part, names):
            if name.endswith("_again") or name in ("open_close", "stat_missing", "random_read", "read_created"):
                # Warm is what follows two warm passes: after a READ the FUSE client asks once for the
                # attributes, of files and then of the directories that brought them (rule M20).
                for _ in range(2):
                    WORKLOADS[name][0](contender.mount_point)
            settle()
            before = contender.requests()
            started = time.perf_counter()
            try:
                WORKLOADS[name][0](contender.mount_point)
            except OSError as error:
                print(f"bench: {contender.title}: {name}: {error}", file=sys.stderr)
                continue
            cells[name]["seconds"].append(time.perf_counter() - started)
            contender.write_back()
            after = contender.requests()
            cells[name]["requests"].append(
                {kind: n - before.get(kind, 0) for kind, n in after.items() if n != before.get(kind)})
        return contender.peak_memory()
    finally:
        contender.unmount()


def main():
    given = arguments()
    if given.list:
        print("\n".join(f"{name:16}{what}" for name, (_, what) in WORKLOADS.items()))
        return 0
    old = json.loads(given.compare.read_text()) if given.compare else None
    lower.make()
    files, size = lower.count()
    where = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", lower.SCRATCH], capture_output=True,
                           text=True).stdout.strip()
    results = {"machine": report.machine(), "backing": where, "rounds": given.r,
               "where": " in a user namespace" if given.rootless else "",
               "lower": f"a lower of {files} files, {size >> 20} MiB", "contenders": given.c,
               "memory": dict.fromkeys(given.c, 0.0),
               "workloads": {name: {c: {"seconds": [], "requests": []} for c in given.c}
                             for name in ["mount", *given.w]}}
    for number in range(given.r):
        for name in given.c:
            print(f"round {number + 1} of {given.r}: {name}", file=sys.stderr)
            cells = {w: results["workloads"][w][name] for w in results["workloads"]}
            peak = measure(Contender(name), given.w, cells)
            results["memory"][name] = max(peak, results["memory"][name])
    print("\n".join(report.table(results)), report.LEGEND, sep="\n")
    if given.raw:
        given.raw.write_text(json.dumps(results))
    if given.save:
        report.save(results, shlex.join(["scripts/bench", *sys.argv[1:]]))
    lines = list(report.worse(old, results)) if old else []
    print("\n".join(lines))
    failed = any(not cells[c]["seconds"] for cells in results["workloads"].values() for c in cells
                 if c.startswith("layerfs"))
    return int(bool(lines) or failed)


sys.exit(main())
