"""What is measured. Each workload takes the mount point; they run in this order on one mount,
so that `first` finds nothing in the contender's own caches, `second` what that left, and `again` all."""
import os
import random
import subprocess
import sys
from lower import BIG_MIB

HALF = 5000  # of the small files
WORKLOADS = {}
IMPORTS = "asyncio ctypes decimal email.mime.text http.server json multiprocessing sqlite3 " \
          "unittest.mock xml.dom.minidom".replace(" ", ",")


def workload(what):
    """Enters a function in WORKLOADS, with a line that says what it does."""
    def enter(function):
        WORKLOADS[function.__name__] = (function, what)
        return function
    return enter


def repeat(name, function, what):
    """Enters a second run of the same work, now that all is in the caches."""
    WORKLOADS[name] = (function, what)


def run(*command, ok=(0,)):
    code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    if code not in ok:
        raise OSError(f"{command[0]} exited {code}")


@workload("lstat of a whole tree")
def find_first(at):
    run("find", f"{at}/tree", "-printf", "%s")


repeat("find_second", find_first, "the same, directly after it")
repeat("find_again", find_first, "the same, all in caches")


@workload("ls -lR of a whole tree, all in caches")
def list_again(at):
    run("ls", "-lR", f"{at}/tree")


@workload("read of all headers for a text that is not there")
def grep_first(at):
    run("grep", "-r", "no such text anywhere", f"{at}/tree/include", ok=(1,))


repeat("grep_second", grep_first, "the same, directly after it")
repeat("grep_again", grep_first, "the same, all in caches")


@workload(f"open, read, close of {HALF} files of 4 KiB")
def small_first(at):
    for number in range(HALF):
        with open(f"{at}/small/f{number}", "rb", 0) as file:
            file.read()


repeat("small_second", small_first, "the same, directly after it")
repeat("small_again", small_first, "the same, all in caches")


@workload(f"open and close of {HALF} files")
def open_close(at):
    for number in range(HALF):
        os.close(os.open(f"{at}/small/f{number}", os.O_RDONLY))


@workload(f"{HALF} stats of 50 names that are not there")
def stat_missing(at):
    for number in range(HALF):
        os.path.exists(f"{at}/small/none{number % 50}")


@workload(f"sequential read of {BIG_MIB} MiB")
def big_read_first(at):
    run("dd", f"if={at}/big", "of=/dev/null", "bs=1M", "status=none")


repeat("big_read_again", big_read_first, "the same, all in caches")


@workload("20000 reads of 4 KiB at random places")
def random_read(at):
    rng, fd = random.Random(2), os.open(f"{at}/big", os.O_RDONLY)
    for _ in range(20_000):
        os.pread(fd, 4096, rng.randrange((BIG_MIB << 20) >> 12) << 12)
    os.close(fd)


@workload("5 starts of Python with its library in the mount")
def python_import(at):
    library = f"{at}/tree/stdlib"
    code = f"import sys; sys.path[:] = ['{library}', '{library}/lib-dynload']; import {IMPORTS}"
    for _ in range(5):
        run(sys.executable, "-I", "-S", "-B", "-c", code)


@workload("6 runs of gcc with its headers and files in the mount")
def compile_c(at):
    def ask(what):
        return subprocess.run(["gcc", what], capture_output=True, text=True).stdout.strip()
    system = (f"{at}/tree/include", f"{at}/tree/include/{ask('-print-multiarch')}",
              ask("-print-file-name=include"))
    headers = [flag for folder in system for flag in ("-isystem", folder)]
    os.mkdir(f"{at}/c")
    for number in range(6):
        with open(f"{at}/c/{number}.c", "w") as source:
            source.write("#include <stdio.h>\n#include <stdlib.h>\n#include <math.h>\n"
                         "#include <sys/stat.h>\n#include <unistd.h>\nint f(void) { return 0; }\n")
        run("gcc", "-nostdinc", *headers, "-c", f"{at}/c/{number}.c", "-o", f"{at}/c/{number}.o")


@workload(f"{HALF} new files of 1000 bytes")
def create(at):
    os.mkdir(f"{at}/new")
    for number in range(HALF):
        with open(f"{at}/new/f{number}", "wb", 0) as file:
            file.write(b"x" * 1000)


@workload("read of those")
def read_created(at):
    for number in range(HALF):
        with open(f"{at}/new/f{number}", "rb", 0) as file:
            file.read()


@workload("removal of those")
def unlink_created(at):
    for number in range(HALF):
        os.unlink(f"{at}/new/f{number}")
