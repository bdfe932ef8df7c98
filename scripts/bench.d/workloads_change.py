"""The workloads that write, or change what the lower has; they run after the others."""
import os
import random
import sqlite3
from lower import ARCHIVE
from workloads import run, workload


@workload("an archive of headers and Python modules unpacked")
def untar(at):
    os.mkdir(f"{at}/unpacked")
    run("tar", "-xf", ARCHIVE, "-C", f"{at}/unpacked")


@workload("512 MiB written in order, with fsync")
def big_write(at):
    run("dd", "if=/dev/zero", f"of={at}/out", "bs=1M", "count=512", "conv=fsync", "status=none")


@workload("2000 writes of 4 KiB at random places, an fsync after each 200")
def random_write(at):
    rng, fd = random.Random(3), os.open(f"{at}/random", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 64 << 20)
    for number in range(2000):
        os.pwrite(fd, b"x" * 4096, rng.randrange((64 << 20) >> 12) << 12)
        if number % 200 == 0:
            os.fsync(fd)
    os.close(fd)


@workload("20 SQLite transactions of 200 rows")
def sqlite(at):
    database = sqlite3.connect(f"{at}/database")
    database.execute("create table t(a integer primary key, b text)")
    for _ in range(20):
        with database:
            database.executemany("insert into t(b) values(?)", [("x" * 100,)] * 200)
    database.close()


@workload("one byte more in each of 1000 files of a lower")
def append_small(at):
    for number in range(1000):
        with open(f"{at}/small/f{number}", "ab", 0) as file:
            file.write(b"x")


@workload("chown of 10000 files of a lower")
def chown_lower(at):
    run("chown", "-R", "33:33", f"{at}/small")


@workload("one byte more in a file of 512 MiB of a lower")
def append_big(at):
    with open(f"{at}/big", "ab", 0) as file:
        file.write(b"x")


@workload("removal of that file")
def remove_big(at):
    os.unlink(f"{at}/big")


@workload("rename of a directory of a lower")
def rename_lower(at):
    run("mv", f"{at}/tree/dist", f"{at}/tree/moved")


@workload("rm -r of a tree of a lower")
def remove_lower(at):
    run("rm", "-r", f"{at}/tree/doc")
