"""Whoever is killed, at whatever instant, as often as it likes: in the end all targets are equal, and nothing was scanned but
by the first daemon, since the service manager keeps the queue.

FANMIRROR_SEED chooses other instants and victims, FANMIRROR_KILLS another number of them.
"""

import os
import random
import resource
import signal
import time

from lib import churn
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import descendants, until
from lib.mirror import Mirror
from lib.service_manager import ServiceManager
from lib.sshd import Sshd

SEED = os.environ.get("FANMIRROR_SEED", "2026")
KILLS = int(os.environ.get("FANMIRROR_KILLS", "67"))  # on each of three filesystems
ROUNDS = 4  # after each the trees are compared
LONGEST = 0.3  # seconds between two kills
PROCESSES = 2


class Kills(WorkplaceCase):
    def setUp(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # for those who abort
        print(f"seed {SEED}", flush=True)
        self.random = random.Random(f"{SEED}/{FILESYSTEM}")
        self.source = os.path.join(self.work.filesystem(FILESYSTEM, "source").path, "tree")
        target_fs = self.work.filesystem(FILESYSTEM, "target")
        self.near, self.far = (os.path.join(target_fs.path, name) for name in ("near", "far"))
        os.mkdir(self.source)
        self.sshd = Sshd(self.work.directory("sshd"))
        self.addCleanup(self.sshd.close)
        directory = self.work.directory("daemon")
        self.service = ServiceManager(directory)
        self.addCleanup(self.service.close)
        self.mirror = Mirror(directory,
                             [{"name": "job", "source": self.source,
                               "target": [{"name": "near", "path": self.near}, self.sshd.target(self.far)]}],
                             service=self.service)
        self.addCleanup(self.mirror.close)
        self.scans = 2  # of the present daemon: one a target by the first, none by others

    def end_daemon(self, number):
        """By a signal, and a new one is started: as a service manager does it."""
        self.check_scans()
        self.mirror.process.send_signal(number)
        self.mirror.process.wait()
        self.scans = 0
        self.mirror.start()

    def check_scans(self):
        counters = self.mirror.status()["counters"]
        self.assertEqual((counters["scans"], counters["overflows"]), (self.scans, 0), self.mirror.log())

    @staticmethod
    def kill_one(pids):
        for pid in pids[:1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
        return bool(pids)

    def near_receiver(self):
        return self.kill_one(self.mirror.receivers())

    def far_receiver(self):
        return self.kill_one(descendants(self.sshd.process.pid, b"receive"))

    def session(self):
        return self.kill_one(self.sshd.sessions())

    def kill(self):
        """Ends somebody; what it was."""
        victims = {"daemon": lambda: self.end_daemon(signal.SIGKILL) or True,
                   "daemon, which aborts": lambda: self.end_daemon(signal.SIGABRT) or True,
                   "daemon, which is stopped": lambda: self.end_daemon(signal.SIGTERM) or True,
                   "near receiver": self.near_receiver, "far receiver": self.far_receiver, "session": self.session}
        victim = self.random.choice(sorted(victims))
        until(victims[victim], f"a {victim} to kill")
        return victim

    def test_equal_in_the_end(self):
        self.mirror.start()
        self.mirror.wait()  # a scan that is not through, or a target that was not listed, is for the next daemon to do
        killed = {}
        for part in range(ROUNDS):
            with self.subTest(seed=SEED, part=part):
                churners = [churn.Churner(self.source, f"{SEED}/{part}/{i}") for i in range(PROCESSES)]
                pids = [churn.endless(churner.step, 0.005) for churner in churners]
                try:
                    for _ in range(KILLS * part // ROUNDS, KILLS * (part + 1) // ROUNDS):
                        time.sleep(self.random.random() * LONGEST)
                        victim = self.kill()
                        killed[victim] = killed.get(victim, 0) + 1
                finally:
                    churn.end(pids)
                self.settled(self.mirror, self.source, self.near)
                self.settled(self.mirror, self.source, self.far)
                self.check_scans()
        print(f"{sum(killed.values())} killed: {killed}", flush=True)


if __name__ == "__main__":
    main()
