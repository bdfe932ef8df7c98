"""The lower tree that all contenders are mounted over, made once and kept."""
import os
import pathlib
import random
import shutil
import subprocess
import sysconfig

SCRATCH = pathlib.Path(os.environ["SCRATCH"])
LOWER = SCRATCH / "lower"
ARCHIVE = SCRATCH / "include.tar"
SMALL_FILES = 10_000
SMALL_SIZE = 4096
BIG_MIB = 512
# What real trees look like: this machine's own.
REAL = {"include": "/usr/include", "doc": "/usr/share/doc", "dist": "/usr/lib/python3",
        "stdlib": sysconfig.get_path("stdlib")}


def make():
    """Makes the tree unless a finished one is there."""
    finished = SCRATCH / "finished"
    if finished.exists():
        return
    shutil.rmtree(LOWER, ignore_errors=True)
    (LOWER / "small").mkdir(parents=True)
    rng = random.Random(1)
    for number in range(SMALL_FILES):
        (LOWER / "small" / f"f{number}").write_bytes(rng.randbytes(SMALL_SIZE))
    with open(LOWER / "big", "wb") as big:
        for _ in range(BIG_MIB):
            big.write(rng.randbytes(1 << 20))
    (LOWER / "tree").mkdir()
    for name, source in REAL.items():
        if os.path.isdir(source):
            subprocess.run(["cp", "-a", f"{source}/.", LOWER / "tree" / name], check=True)
    subprocess.run(["tar", "-cf", ARCHIVE, "-C", LOWER / "tree", "include", "dist"], check=True)
    finished.touch()
    os.sync()


def cool(tree):
    """Drops all caches and reads again of this tree what a contender's own part is to be told apart
    from the disk's: names, attributes, and the data of small files and the big one. Other data,
    that of the headers, is on the disk."""
    os.sync()
    drop_caches()
    subprocess.run(["find", tree, "-printf", "%s"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["grep", "-rqz", "no such text anywhere", f"{tree}/small", f"{tree}/big", ARCHIVE])


def drop_caches():
    """Root of a user namespace asks the host's root, by a pipe in SCRATCH."""
    if (asked := SCRATCH / "drop").exists():
        asked.write_text("drop\n")
        (SCRATCH / "dropped").read_text()
    else:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def count():
    """Returns (files, bytes) of the tree."""
    sizes = [os.lstat(os.path.join(folder, name)).st_size
             for folder, _, names in os.walk(LOWER) for name in names]
    return len(sizes), sum(sizes)
