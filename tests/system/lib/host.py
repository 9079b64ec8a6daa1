"""Real filesystems to test on, in a mount namespace of the test's own, so that nothing outlives the test."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
CLONE_NEWNS = 0x20000
PR_SET_PDEATHSIG = 1
LARGE = "1G"  # of an image, which is sparse; xfs wants no less than 300 MiB
DEADLINE = 120.0  # seconds; for a loaded machine, never reached when all is well

libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, check=True, **options):
    """Runs a command to its end; its output is text, and is in the error."""
    result = subprocess.run([os.fsdecode(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, errors="surrogateescape", **options)
    if check and result.returncode != 0:
        raise RuntimeError(f"{argv} exits with {result.returncode}: {result.stdout}{result.stderr}")
    return result


def die_with_parent():
    """For preexec_fn: what the test starts ends with it, also when the test is killed."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter_namespace():
    """Mounts made from here on vanish with the last process of this test. Call once, before any thread."""
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNS)")
    run("mount", "--make-rprivate", "/")


def skip_unless_root():
    if os.geteuid() != 0:
        print("skipped: needs root, for mounts and fanotify")
        sys.exit(SKIPPED)


def until(condition, what, deadline=DEADLINE):
    """Polls until condition() is true and returns its value; the error says what never came."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def children(pid):
    """Of all threads of a process; none when it has ended."""
    while os.path.exists(f"/proc/{pid}"):
        try:
            return children_of_threads(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass  # a thread ended meanwhile: its children are another's now, perhaps one that was looked at before
    return []


def children_of_threads(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def descendants(pid, word):
    """Process ids below `pid` whose command line has the argument `word`."""
    found = []
    for child in children(pid):
        try:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if word in file.read().split(b"\0"):
                    found.append(child)
        except OSError:
            continue
        found += descendants(child, word)
    return found


class Filesystem:
    """A filesystem of its own at `path`: an image on a loop device, or a tmpfs."""

    MAKE = {
        "ext4": ["mkfs.ext4", "-q", "-F"],
        "xfs": ["mkfs.xfs", "-q", "-f"],
        "btrfs": ["mkfs.btrfs", "-q", "-f"],
    }

    def __init__(self, kind, path, size):
        self.path = path
        os.makedirs(path, exist_ok=True)
        if kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes=1000000,mode=755", "tmpfs", path)
            return
        image = path + ".img"
        run("truncate", "-s", size, image)
        many_inodes = ["-N", "150000"] if kind == "ext4" and size == LARGE else []
        run(*self.MAKE[kind], *many_inodes, image)
        run("mount", "-o", "loop", image, path)
        os.unlink(image)  # it lives as long as the mount does, also when this test is killed

    def remount(self, options):
        run("mount", "-o", "remount," + options, self.path)

    def close(self):
        run("umount", "-l", self.path, check=False)


class Disk:
    """A filesystem that is unmounted and mounted again: an image file, which a loop device has while it is mounted. A
    tmpfs is a new one each time."""

    def __init__(self, kind, path, size=LARGE):
        self.kind, self.path, self.size = kind, path, size
        os.makedirs(path, exist_ok=True)
        handle, self.image = tempfile.mkstemp(prefix="disk-", suffix=".img", dir=os.path.dirname(path))
        os.close(handle)
        if kind != "tmpfs":
            run("truncate", "-s", size, self.image)
            run(*Filesystem.MAKE[kind], self.image)
        self.mount()

    def mount(self):
        if self.kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={self.size},mode=755", "tmpfs", self.path)
        else:
            run("mount", "-o", "loop", self.image, self.path)

    def remount(self, options):
        run("mount", "-o", "remount," + options, self.path)

    def close(self):
        run("umount", "-l", self.path, check=False)


class Workplace:
    """A temporary directory with the filesystems that a test makes in it."""

    def __init__(self):
        base = os.environ.get("FANMIRROR_TEST_DIR", "/tmp")
        self.path = tempfile.mkdtemp(prefix="fanmirror-system-", dir=base)
        self.filesystems = []

    def filesystem(self, kind, name, size=LARGE):
        filesystem = Filesystem(kind, os.path.join(self.path, name), size)
        self.filesystems.append(filesystem)
        return filesystem

    def add(self, disk):
        """A Disk that ends with the workplace."""
        self.filesystems.append(disk)
        return disk

    def directory(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def close(self):
        for filesystem in reversed(self.filesystems):
            filesystem.close()
        shutil.rmtree(self.path, ignore_errors=True)
