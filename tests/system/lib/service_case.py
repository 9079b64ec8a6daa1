"""The frame of a test whose daemon is started by a service manager, which keeps the queue of events."""

import itertools
import os
import shutil

from lib.case import FILESYSTEM, PLACE, WorkplaceCase
from lib.mirror import Mirror
from lib.service_manager import ServiceManager
from lib.sshd import Sshd

NUMBERS = itertools.count()
DATA = 100_000  # bytes of a file whose sending again would show


class ServiceCase(WorkplaceCase):
    """Subclasses may set `daemon`, further keys of [daemon]."""

    daemon = {}
    first_scans = 1  # of the first start: one a target

    def setUp(self):
        """A source and a target on filesystems of their own, and a daemon that a service manager starts."""
        name = f"t{next(NUMBERS)}"  # short, as the path of a socket must be
        self.source_fs = self.work.filesystem(FILESYSTEM, name + "-source")
        self.target_fs = self.work.filesystem(FILESYSTEM, name + "-target")
        self.addCleanup(self.target_fs.close)
        self.addCleanup(self.source_fs.close)
        self.source = os.path.join(self.source_fs.path, "tree")
        self.target = os.path.join(self.target_fs.path, "copy")
        os.mkdir(self.source)
        target = {"name": "near", "path": self.target}
        if PLACE == "ssh":
            sshd = Sshd(self.work.directory(name + "-sshd"))
            self.addCleanup(sshd.close)
            target = sshd.target(self.target)
        directory = self.work.directory(name + "-daemon")
        self.service = ServiceManager(directory)
        self.addCleanup(self.service.close)
        self.mirror = Mirror(directory, [{"name": "job", "source": self.source, "target": [target]}],
                             daemon=self.daemon, service=self.service)
        self.addCleanup(self.mirror.close)

    def start_and_settle(self):
        for i in range(20):
            self.write(f"d{i % 3}/f{i}", os.urandom(DATA))
        self.mirror.start()
        self.settle()
        self.assertEqual(self.counter("scans"), self.first_scans)

    def settle(self):
        self.settled(self.mirror, self.source, self.target)

    def counter(self, name):
        return self.mirror.status()["counters"][name]

    def assert_scanned(self, at_least):
        self.settle()
        scans = self.counter("scans")
        self.assertTrue(scans >= at_least if at_least else scans == 0, f"{scans} scans; log:\n{self.mirror.log()}")

    def change_everything(self):
        """What nobody would find by looking at the times of the top directory."""
        self.write("d0/new", b"new")
        self.write("d1/f1", os.urandom(DATA))
        self.write("fresh/below/file", b"in directories that are new")
        os.rename(f"{self.source}/d2", f"{self.source}/d0/moved")
        os.rename(f"{self.source}/d0/f0", f"{self.source}/fresh/f0")
        os.link(f"{self.source}/d1/f4", f"{self.source}/linked")
        os.chmod(f"{self.source}/d1/f7", 0o600)
        os.unlink(f"{self.source}/d1/f10")
        shutil.rmtree(f"{self.source}/d0/moved")
