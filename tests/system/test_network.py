"""The network is cut under churn, for longer than it takes to be noticed, and heals: the mirror goes on by itself."""

import os
import time

from lib import churn
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import until
from lib.mirror import Mirror
from lib.network import FAR, Network
from lib.sshd import Sshd

SEED = os.environ.get("FANMIRROR_SEED", "2026")
TIMEOUT = "3s"
NOTICED = 60  # seconds, for a loaded machine; without a detection of our own TCP would go on for a quarter of an hour
BALLAST, BALLAST_FILES = 1 << 20, 32  # bytes, files: what must not travel again
TRAVELS = BALLAST * BALLAST_FILES // 2  # bytes; far more than all that the churn leaves


class Cut(WorkplaceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.network = Network()
        cls.addClassCleanup(cls.network.close)
        cls.sshd = Sshd(cls.work.directory("sshd"), address=FAR, prefix=cls.network.far.prefix)
        cls.addClassCleanup(cls.sshd.close)
        cls.source = os.path.join(cls.work.filesystem(FILESYSTEM, "source").path, "tree")
        cls.target = os.path.join(cls.work.filesystem(FILESYSTEM, "target").path, "copy")
        for path in ("ballast", "churn"):
            os.makedirs(os.path.join(cls.source, path))
        for i in range(BALLAST_FILES):
            with open(os.path.join(cls.source, "ballast", str(i)), "wb") as file:
                file.write(os.urandom(BALLAST))
        cls.mirror = Mirror(cls.work.directory("daemon"),
                            [{"name": "job", "source": cls.source, "target": [cls.sshd.target(cls.target, timeout=TIMEOUT)]}])
        cls.addClassCleanup(cls.mirror.close)
        cls.mirror.start()

    def cut(self, cut, heal):
        """Under churn; returns the seconds until the loss is noticed, and the bytes sent after it."""
        self.mirror.wait()
        churner = churn.Churner(os.path.join(self.source, "churn"), f"{SEED}/{self.id()}")
        pids = [churn.endless(churner.step, 0.01)]
        try:
            acked = self.mirror.target()["acked_files"]
            until(lambda: self.mirror.target()["acked_files"] > acked + 20, "churn to be mirrored")
            cut()
            began = time.monotonic()
            until(lambda: self.mirror.target()["state"] == "connecting", "the loss to be noticed", NOTICED)
            noticed = time.monotonic() - began
            sent = self.mirror.wire_bytes()
            pending = self.mirror.target()["pending"]
            until(lambda: self.mirror.target()["pending"] > pending, "changes to be collected")
            heal()
            until(lambda: self.mirror.target()["state"] in ("syncing", "live"), "a new connection")
        finally:
            churn.end(pids)
        self.settled(self.mirror, self.source, self.target)
        sent = self.mirror.wire_bytes() - sent
        print(f"noticed after {noticed:.1f} s; {sent} bytes sent after it", flush=True)
        self.assertLess(sent, TRAVELS)

    def test_link_goes_down(self):
        self.cut(self.network.link_down, self.network.link_up)

    def test_packets_vanish_without_a_word(self):
        self.cut(lambda: self.network.forward(False), lambda: self.network.forward(True))


if __name__ == "__main__":
    main()
