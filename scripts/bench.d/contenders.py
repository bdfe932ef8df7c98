"""Who is measured: how each is mounted, unmounted and asked what it did."""
import os
import pathlib
import shutil
import subprocess
import time
from lower import LOWER, SCRATCH

ENV = os.environ
IN_NAMESPACE = pathlib.Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
PROGRAMS = {"fo1": "fuse-overlayfs", "fo2": ENV["FO2"], "layerfs": ENV["LAYERFS"], "floor": ENV.get("FLOOR")}
# What a server can do that keeps nothing.
FLOOR_ROWS = {"small_first", "open_close", "stat_missing", "big_read_first", "big_read_again", "random_read",
              "big_write", "random_write", "remove_big"}


class Contender:
    """One of native, kernel, fo1, fo2, layerfs, floor; `layerfs:OPTIONS` adds mount options."""

    def __init__(self, name):
        self.name, _, self.options = name.partition(":")
        self.title = name
        self.dir = SCRATCH / f"at-{self.name}"
        self.mount_point = self.dir / "merged"
        self.server = None
        if self.name not in ("native", "kernel", *PROGRAMS):
            raise SystemExit(f"bench: unknown contender '{name}'")

    def mount(self):
        """Mounts over a fresh upper and returns the seconds until the mount answers; `native` is a
        copy of the lower, for which there is no such time."""
        shutil.rmtree(self.dir, ignore_errors=True)
        for name in ("upper", "work", "merged"):
            (self.dir / name).mkdir(parents=True)
        options = f"lowerdir={LOWER},upperdir={self.dir}/upper,workdir={self.dir}/work"
        if self.options:
            options += "," + self.options
        if self.name == "native":
            subprocess.run(["cp", "-a", f"{LOWER}/.", self.mount_point], check=True)
            return None
        started = time.perf_counter()
        if self.name == "kernel":
            if IN_NAMESPACE:
                options += ",userxattr"
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.mount_point],
                           check=True)
        elif self.name == "floor":
            self.server = subprocess.Popen([PROGRAMS["floor"], self.mount_point])
            self.wait()
            self.raise_read_ahead()
        else:
            subprocess.run([PROGRAMS[self.name], "-o", options, self.mount_point], check=True,
                           timeout=60, stdout=subprocess.DEVNULL)
            self.wait()
        return time.perf_counter() - started

    def wait(self):
        """Until the mount answers."""
        while not (self.mount_point / "big").exists():
            time.sleep(0.001)

    def raise_read_ahead(self):
        """As layerfs does it for itself."""
        device = os.stat(self.mount_point).st_dev
        place = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
        pathlib.Path(place).write_text("1024")

    def takes_part(self, row):
        """Whether it can do this workload."""
        return self.name != "floor" or row in FLOOR_ROWS

    def backing(self):
        """The tree that this contender reads in the end."""
        return self.mount_point if self.name == "native" else LOWER

    def unmount(self):
        """Unmounts, waits for the program to end, and removes what was written."""
        tries = 0
        while os.path.ismount(self.mount_point):
            if subprocess.run(["umount", self.mount_point]).returncode and (tries := tries + 1) > 50:
                raise SystemExit(f"bench: {self.mount_point} cannot be unmounted")
            time.sleep(0.1 if tries else 0)
        if self.server:
            self.server.wait()
        while self.pid():
            time.sleep(0.02)
        shutil.rmtree(self.dir)

    def write_back(self):
        """Lets the kernel send to the program what it still holds of earlier writes."""
        if self.name in PROGRAMS:
            subprocess.run(["sync", "-f", self.mount_point], check=True)

    def pid(self):
        """The process that serves the mount, if there is one."""
        found = subprocess.run(["pgrep", "-f", f"{self.mount_point}$"], capture_output=True, text=True)
        return int(found.stdout.split()[0]) if found.stdout else None

    def requests(self):
        """The FUSE requests since the mount, by kind; only layerfs can tell."""
        if self.name != "layerfs":
            return {}
        lines = subprocess.run([PROGRAMS["layerfs"], "--stats", self.mount_point], check=True,
                               timeout=10, capture_output=True, text=True).stdout.splitlines()
        return {kind: int(number) for kind, number in (line.split() for line in lines)}

    def peak_memory(self):
        """The most memory that the program has held, in MiB."""
        pid = self.pid() if self.name in PROGRAMS else None
        if pid is None:
            return 0.0
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
