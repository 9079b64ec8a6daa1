"""The frame of a test: one source, one target and one daemon for a class, a directory for each test."""

import os
import shutil
import sys
import unittest

from lib import judge
from lib.host import Workplace, enter_namespace, skip_unless_root
from lib.mirror import Mirror
from lib.sshd import Sshd

# What the test runs on: ext4, xfs, btrfs or tmpfs to a local target, or "ssh": ext4 to a target behind a real sshd.
PLACE = os.environ.get("FANMIRROR_FS", "ext4")
FILESYSTEM = "ext4" if PLACE == "ssh" else PLACE


class WorkplaceCase(unittest.TestCase):
    """A workplace for the class."""

    @classmethod
    def setUpClass(cls):
        cls.work = Workplace()
        cls.addClassCleanup(cls.work.close)

    def judge(self, source, target, **options):
        judge.judge(source, target, **options)

    def write(self, name, data=b"data"):
        """Makes a file below self.source, or replaces its content."""
        path = os.path.join(self.source, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def settled(self, mirror, source, target, **options):
        """All is durable, and both trees are the same; otherwise the error tells what the mirror knows."""
        mirror.wait()
        try:
            judge.judge(source, target, **options)
        except AssertionError as error:
            raise AssertionError(f"{error}\nstatus: {mirror.status_text()}\nlog:\n{mirror.log()}") from None


class MirrorCase(WorkplaceCase):
    """A daemon from cls.source to cls.target on filesystems of their own. Subclasses may set `job`."""

    job = {}
    target_options = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source_fs = cls.work.filesystem(FILESYSTEM, "source")
        cls.target_fs = cls.work.filesystem(FILESYSTEM, "target")
        # Below their mounts: a mount's root may hold lost+found, and has an outside to move things to and from.
        cls.source = os.path.join(cls.source_fs.path, "tree")
        cls.outside = os.path.join(cls.source_fs.path, "outside")
        cls.target = os.path.join(cls.target_fs.path, "copy")
        for path in (cls.source, cls.outside):
            os.mkdir(path)
        target = {"name": "near", "path": cls.target}
        cls.sshd = None
        if PLACE == "ssh":
            cls.sshd = Sshd(cls.work.directory("sshd"))
            cls.addClassCleanup(cls.sshd.close)
            target = cls.sshd.target(cls.target)
        cls.mirror = Mirror(cls.work.directory("daemon"),
                            [{"name": "job", "source": cls.source, **cls.job,
                              "target": [{**target, **cls.target_options}]}])
        cls.addClassCleanup(cls.mirror.close)
        cls.prepare()
        cls.mirror.start()

    @classmethod
    def prepare(cls):
        """For what is to be there before the daemon starts."""

    def setUp(self):
        name = self.id().rsplit(".", 1)[-1]
        self.dir = os.path.join(self.source, name)
        self.copy = os.path.join(self.target, name)
        os.mkdir(self.dir)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def settle(self, **options):
        """All is durable, and both trees are the same."""
        self.mirror.wait()
        self.compare(**options)

    def compare(self, **options):
        try:
            self.judge(self.source, self.target, **options)
        except AssertionError as error:
            raise AssertionError(f"{error}\nstatus: {self.mirror.status_text()}\nlog:\n{self.mirror.log()}") from None

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, data=b"data"):
        """Makes a file below the test's directory, or replaces its content."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return path

    def wire_cost(self, change):
        """Bytes sent for what change() does, until it is durable."""
        self.mirror.wait()
        before = self.mirror.wire_bytes()
        change()
        self.mirror.wait()
        return self.mirror.wire_bytes() - before


def main():
    skip_unless_root()
    enter_namespace()
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr.reconfigure(errors="backslashreplace")
    unittest.main(verbosity=2)
