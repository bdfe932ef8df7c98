"""What must not grow with the size of things: see scripts/bench-scale."""
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

SCRATCH = pathlib.Path(os.environ["SCRATCH"])
PROGRAM = os.environ["LAYERFS"]
MERGED = SCRATCH / "merged"
# Whether the kernel offers io_uring to FUSE servers.
OFFER = pathlib.Path("/sys/module/fuse/parameters/enable_uring")


def fresh(*names):
    for name in names:
        shutil.rmtree(SCRATCH / name, ignore_errors=True)
        (SCRATCH / name).mkdir()


class Union:
    """A mount over these lowers; `kernel` mounts the kernel's overlayfs instead, `more` adds options."""

    def __init__(self, lowers, kernel=False, more=""):
        fresh("upper", "work", "merged")
        options = f"lowerdir={':'.join(map(str, lowers))},upperdir={SCRATCH}/upper,workdir={SCRATCH}/work{more}"
        self.command = ["mount", "-t", "overlay", "overlay"] if kernel else [PROGRAM]
        self.command += ["-o", options, str(MERGED)]

    def __enter__(self):
        started = time.perf_counter()
        subprocess.run(self.command, check=True, cwd=SCRATCH)
        self.seconds = time.perf_counter() - started
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", MERGED], check=True)
        while self.pid():
            time.sleep(0.02)

    def pid(self):
        found = subprocess.run(["pgrep", "-f", f"{PROGRAM}.*{MERGED}$"], capture_output=True, text=True)
        return found.stdout.split()[0] if found.stdout else None

    def memory(self):
        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def timed(action, names):
    """Microseconds for each name."""
    started = time.perf_counter()
    for name in names:
        action(name)
    return (time.perf_counter() - started) / len(names) * 1e6


def layers():
    """Mount time, and a first stat of names that are there and are not, over 1 to 500 layers."""
    fresh("layers")
    for n in range(500):
        (SCRATCH / f"layers/{n}/d").mkdir(parents=True)
        for i in range(2):
            (SCRATCH / f"layers/{n}/d/f{n}-{i}").touch()
    for i in range(500):
        (SCRATCH / f"layers/0/d/common{i}").touch()
    print("layers  mount ms  stat of a name us  of a missing name us")
    for count in (1, 10, 100, 500):
        # Relative paths: 500 absolute ones do not fit into mount(2)'s page.
        with Union([f"layers/{n}" for n in range(count)]) as union:
            os.stat(MERGED / "d/common0")
            there = timed(os.stat, [MERGED / f"d/common{i}" for i in range(1, 500)])
            absent = timed(os.path.exists, [MERGED / f"d/none{i}" for i in range(500)])
            print(f"{count:6}{union.seconds * 1e3:10.1f}{there:19.1f}{absent:22.1f}")


def inodes():
    """A directory of a million names: listed, all of them looked at, and forgotten again."""
    fresh("million")
    (SCRATCH / "million/d").mkdir()
    for i in range(1_000_000):
        os.mknod(SCRATCH / f"million/d/name-{i}")
    with Union([SCRATCH / "million"]) as union:
        start = union.memory()
        for what, command in (("list (ls -U)", "ls -U"), ("find -printf %s, warm", "find -printf %s")):
            started = time.perf_counter()
            subprocess.run(f"cd {MERGED}/d && {command} > /dev/null", shell=True, check=True)
            print(f"{what:24}{time.perf_counter() - started:7.2f} s, {union.memory():6.1f} MiB resident")
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("2")
        time.sleep(3)
        print(f"forgotten by the kernel: {union.memory():6.1f} MiB resident, {start:.1f} at the start")


def percentile(values, which):
    return statistics.quantiles(values, n=1000)[which - 1] * 1e3


def stats_until(done):
    """Seconds of each stat of a new name every millisecond until `done` is set."""
    seconds = []
    while not done.is_set():
        started = time.perf_counter()
        os.path.exists(MERGED / f"d/new{len(seconds)}")
        seconds.append(time.perf_counter() - started)
        time.sleep(0.001)
    return seconds


def copyup():
    """The 99th percentile of a stat elsewhere, with and without a copy-up of 5 GiB going on."""
    fresh("large")
    (SCRATCH / "large/d").mkdir()
    subprocess.run(f"head -c 5G /dev/urandom > {SCRATCH}/large/file", shell=True, check=True)
    with Union([SCRATCH / "large"]):
        done = threading.Event()
        threading.Timer(5, done.set).start()
        idle = percentile(stats_until(done), 990)
        done = threading.Event()

        def append():
            with open(MERGED / "file", "ab") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
            done.set()

        started = time.perf_counter()
        threading.Thread(target=append).start()
        busy = percentile(stats_until(done), 990)
        print(f"stat, 99th percentile: {idle:.3f} ms alone, {busy:.3f} ms during a copy-up of 5 GiB "
              f"({time.perf_counter() - started:.1f} s)")


def visit(number):
    for i in range(2000):
        with open(MERGED / f"{number}/f{i}", "rb", 0) as file:
            file.read()


def parallel():
    """First reads of 2,000 files a process, by 1 to 8 processes, median of three rounds, in files a second."""
    fresh("many")
    for number in range(8):
        (SCRATCH / f"many/{number}").mkdir()
        for i in range(2000):
            (SCRATCH / f"many/{number}/f{i}").write_bytes(b"x" * 1000)
    unions = {"layerfs": {}, "over io_uring": {"more": ",io_uring"}, "kernel": {"kernel": True}}
    if not OFFER.exists() or OFFER.read_text().strip() != "Y":
        print(f"(io_uring is not measured: {OFFER} is not Y)")
        del unions["over io_uring"]
    print("processes" + "".join(f"{name:>15}" for name in unions))
    for count in (1, 2, 4, 8):
        rates = {name: [] for name in unions}
        for name in [*unions] * 3:
            with Union([SCRATCH / "many"], **unions[name]):
                rates[name].append(rate_of(count))
        print(f"{count:9}" + "".join(f"{statistics.median(rates[name]):15.0f}" for name in unions))


def rate_of(count):
    """Files a second that so many processes read."""
    workers = [multiprocessing.Process(target=visit, args=(n,)) for n in range(count)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count * 2000 / (time.perf_counter() - started)


ALL = {"layers": layers, "inodes": inodes, "copyup": copyup, "parallel": parallel}
for name in sys.argv[1:] or ALL:
    print(f"\n{name}: {ALL[name].__doc__}")
    ALL[name]()
