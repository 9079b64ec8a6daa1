"""Random operations from several processes on one tree. The same seed gives each process the same choices, though not
the same outcome: they meet on the same few names, which is the point."""

import os
import random
import shutil
import signal
import time

from lib.calls import exchange
from lib.host import die_with_parent

NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]
DEEPEST = 5
LARGEST = 60_000  # bytes of a file when written; a few are ten times as large


class Churner:
    def __init__(self, root, seed, outside=None):
        """`outside`: a directory of the same filesystem; some things are moved there and back."""
        self.root, self.outside, self.random, self.done = root, outside, random.Random(seed), 0
        self.operations = [
            (self.create, 16), (self.write, 10), (self.append, 10), (self.truncate, 4), (self.rename, 14),
            (self.exchange, 5), (self.link, 7), (self.unlink, 9), (self.symlink, 4), (self.mkdir, 9), (self.rmdir, 3),
            (self.chmod, 4), (self.chown, 3), (self.setxattr, 4), (self.utimens, 4), (self.remove_tree, 0.4),
        ]
        if outside is not None:
            self.operations += [(self.move_out, 2), (self.move_in, 2)]

    def run(self, count):
        """Until `count` operations have succeeded; those that fail (the name is taken, or gone) do not count."""
        while self.done < count:
            self.step()

    def step(self):
        calls, weights = zip(*self.operations)
        try:
            self.random.choices(calls, weights)[0]()
            self.done += 1
        except OSError:
            pass

    def place(self):
        """A path that may exist: half a random walk through what is there, and a last name of a few."""
        path = self.root
        for _ in range(self.random.randrange(DEEPEST)):
            below = os.path.join(path, self.random.choice(NAMES))
            if not os.path.isdir(below) or os.path.islink(below):
                break
            path = below
        return os.path.join(path, self.random.choice(NAMES))

    def existing(self):
        path = self.place()
        os.lstat(path)
        return path

    def data(self):
        size = self.random.randrange(LARGEST) * (10 if self.random.random() < 0.02 else 1)
        return self.random.randbytes(64) * (size // 64)

    def open(self, flags):
        return os.open(self.place(), flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)

    def fill(self, fd):
        try:
            os.write(fd, self.data())
        finally:
            os.close(fd)

    def create(self):
        self.fill(self.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    def write(self):
        fd = self.open(os.O_WRONLY)
        os.lseek(fd, self.random.randrange(LARGEST), os.SEEK_SET)
        self.fill(fd)

    def append(self):
        self.fill(self.open(os.O_WRONLY | os.O_APPEND))

    def truncate(self):
        fd = self.open(os.O_WRONLY)
        try:
            os.ftruncate(fd, self.random.randrange(LARGEST))
        finally:
            os.close(fd)

    def rename(self):
        os.rename(self.existing(), self.place())

    def move_out(self):
        os.rename(self.existing(), os.path.join(self.outside, self.random.choice(NAMES)))

    def move_in(self):
        os.rename(os.path.join(self.outside, self.random.choice(NAMES)), self.place())

    def exchange(self):
        exchange(self.existing(), self.existing())

    def link(self):
        os.link(self.existing(), self.place(), follow_symlinks=False)

    def unlink(self):
        os.unlink(self.place())

    def symlink(self):
        os.symlink(self.random.choice(["a", "../b", "/nowhere", "x" * 300]), self.place())

    def mkdir(self):
        os.mkdir(self.place())

    def rmdir(self):
        os.rmdir(self.place())

    def remove_tree(self):
        shutil.rmtree(self.existing())

    def chmod(self):
        path = self.existing()
        if not os.path.islink(path):
            os.chmod(path, self.random.randrange(0o10000))

    def chown(self):
        os.chown(self.existing(), self.random.randrange(70_000), self.random.randrange(70_000), follow_symlinks=False)

    def setxattr(self):
        name = self.random.choice(["user.a", "user.b", "trusted.c"])
        path = self.existing()
        if self.random.random() < 0.3:
            os.removexattr(path, name, follow_symlinks=False)
        else:
            os.setxattr(path, name, self.random.randbytes(self.random.randrange(200)), follow_symlinks=False)

    def utimens(self):
        os.utime(self.existing(), ns=(0, self.random.randrange(1 << 61)), follow_symlinks=False)


def start(root, seed, processes, operations):
    """Starts the processes; each makes its share of `operations`. Returns their ids, for finish()."""
    pids = []
    for number in range(processes):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                Churner(root, f"{seed}/{number}").run(operations // processes)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    return pids


def finish(pids):
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise AssertionError(f"a churning process ends with {status}")


def running(pids):
    """Whether one of them still works; leaves all for finish()."""
    return any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for pid in pids)


def endless(step, pause):
    """Starts a process that calls step() with `pause` seconds in between, until it is ended. Returns its id, for end()."""
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            while True:
                step()
                time.sleep(pause)
        finally:
            os._exit(1)
    return pid


def end(pids):
    """Ends endless processes, in the middle of whatever they do; raises if one has failed before."""
    failed = [pid for pid in pids if not running([pid])]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if failed:
        raise AssertionError(f"{len(failed)} of {len(pids)} churning processes have failed")
