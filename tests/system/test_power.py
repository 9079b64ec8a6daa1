"""The target loses power: all that was confirmed before is there, whole, and the mirror goes on from what is left.

FANMIRROR_SEED chooses other instants, FANMIRROR_CLONES another number of them.
"""

import os
import random
import signal
import threading
import time

from lib import churn, ledger, versions
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.disk import Disk, Holder
from lib.host import until
from lib.mirror import Mirror

SEED = os.environ.get("FANMIRROR_SEED", "2026")
CLONES = int(os.environ.get("FANMIRROR_CLONES", "30"))
CUTS = 3  # after which the mirror goes on
LONGEST = 0.25  # seconds between two clones
BALLAST, BALLAST_FILES = 1 << 20, 48  # bytes, files: what must not travel again
TRAVELS = BALLAST * BALLAST_FILES // 2  # bytes; far more than all that changes between the cut and the end


class Churning:
    """Changes everything but the ballast, and goes on having the ledger confirmed, until the end."""

    def __init__(self, source, ledger_):
        writer = versions.Writer(os.path.join(source, "versions"), f"{SEED}/versions/{ledger_.steps}")
        churner = churn.Churner(os.path.join(source, "churn"), f"{SEED}/churn/{ledger_.steps}")
        self.ledger, self.stop, self.failures = ledger_, threading.Event(), []
        self.pids = [churn.endless(lambda: writer.replace_one(time.sleep), 0.002), churn.endless(churner.step, 0.002)]
        self.thread = threading.Thread(target=self.confirm)
        self.thread.start()

    def confirm(self):
        try:
            while not self.stop.is_set():
                self.ledger.step()
        except Exception as error:  # for end(), which runs in the test's own thread
            self.failures.append(error)

    def end(self, go_on=lambda: None):
        """go_on() is called when nothing more changes, but a confirmation may still be awaited."""
        churn.end(self.pids)
        self.stop.set()
        go_on()
        self.thread.join()
        if self.failures:
            raise self.failures[0]


class Power(WorkplaceCase):
    def setUp(self):
        """Each test spoils its disk."""
        work = self.work
        name = self.id().rsplit(".", 1)[-1]
        self.random = random.Random(f"{SEED}/{name}")
        print(f"seed {SEED}", flush=True)
        self.source = os.path.join(work.filesystem(FILESYSTEM, name + "-source").path, "tree")
        self.disk = Disk(FILESYSTEM, work.directory(name), self.holder, "1G")
        self.target = os.path.join(self.disk.path, "copy")
        self.addCleanup(self.disk.close)
        for part in ("", "versions", "churn", "ballast"):
            os.mkdir(os.path.join(self.source, part))
        for i in range(BALLAST_FILES):
            with open(os.path.join(self.source, "ballast", str(i)), "wb") as file:
                file.write(os.urandom(BALLAST))
        self.mirror = Mirror(work.directory(name + "-daemon"),
                             [{"name": "job", "source": self.source, "target": [{"name": "near", "path": self.target}]}])
        self.addCleanup(self.mirror.close)
        self.ledger = ledger.Ledger(os.path.join(self.source, "ledger"), self.mirror.wait, SEED)
        self.mirror.start()
        self.mirror.wait()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.holder = Holder(cls.work)

    def start_churn(self):
        return Churning(self.source, self.ledger)

    def confirm_some(self, steps):
        steps += self.ledger.steps
        until(lambda: self.ledger.steps >= steps, "confirmations")

    def clone(self):
        """An image and what must be on it."""
        before = self.ledger.confirmed()
        image = self.disk.clone()
        return image, ledger.unchanged(before, self.ledger.confirmed())

    def go_on(self):
        self.mirror.process.send_signal(signal.SIGCONT)

    def violations(self, confirmed):
        return (ledger.violations(os.path.join(self.target, "ledger"), confirmed) +
                versions.mixtures(os.path.join(self.target, "versions")))

    def test_all_that_was_confirmed_is_in_each_clone(self):
        churning = self.start_churn()
        kept = []
        try:
            self.confirm_some(2)
            for _ in range(CLONES):
                time.sleep(self.random.random() * LONGEST)
                kept.append(self.clone())
        finally:
            churning.end()
        self.mirror.stop()
        self.disk.unmount()
        print(f"{len(kept)} clones, {self.ledger.steps} confirmations, {len(kept[0][1])} to {len(kept[-1][1])} groups")
        self.assertGreater(len(kept[-1][1]), len(kept[0][1]))
        for number, (image, confirmed) in enumerate(kept):
            with self.subTest(seed=SEED, clone=number):
                self.disk.become(image)
                try:
                    self.assertEqual(self.violations(confirmed), [])
                finally:
                    self.disk.unmount()

    def lose_power(self, keep):
        """The target's host dies at once, with all that it had not written, and is back at once with what keep() left
        on its disk. The daemon lives on; what it sees is a connection that ends."""
        receiver = until(self.mirror.receivers, "a receiver")[0]
        self.mirror.process.send_signal(signal.SIGSTOP)  # or it would connect to the filesystem that is about to go
        os.kill(receiver, signal.SIGSTOP)
        kept = keep()
        os.kill(receiver, signal.SIGKILL)
        self.disk.unmount()
        self.disk.become(kept[0])
        return kept

    def test_goes_on_after_each_power_cut(self):
        for cut in range(CUTS):
            with self.subTest(seed=SEED, cut=cut):
                churning = self.start_churn()
                try:
                    self.confirm_some(2)
                    time.sleep(self.random.random() * LONGEST)
                    before = self.mirror.wire_bytes()
                    _, confirmed = self.lose_power(self.clone)
                    self.assertEqual(self.violations(confirmed), [])
                    self.assertGreater(len(confirmed), 0)
                finally:
                    churning.end(self.go_on)
                self.settled(self.mirror, self.source, self.target)
                self.assertLess(self.mirror.wire_bytes() - before, TRAVELS)

    def test_goes_on_from_an_older_state_of_the_target(self):
        """As after a disk that lied about its flushes, or a snapshot that was restored: what was acknowledged is gone."""
        churning = self.start_churn()
        try:
            image = self.disk.clone()
            self.confirm_some(3)
            before = self.mirror.wire_bytes()
            self.lose_power(lambda: (image, {}))
        finally:
            churning.end(self.go_on)
        self.settled(self.mirror, self.source, self.target)
        self.assertLess(self.mirror.wire_bytes() - before, TRAVELS)


if __name__ == "__main__":
    main()
