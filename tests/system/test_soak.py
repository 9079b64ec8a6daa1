"""All failures at random, one after the other and under churn, for as long as is asked for; after each few the trees are equal.

FANMIRROR_SOAK_SECONDS says how long; FANMIRROR_SEED chooses other failures and instants.
"""

import collections
import os
import random
import re
import shutil
import signal
import time

from lib import churn, disk
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import Disk, descendants, run, until
from lib.mirror import Mirror
from lib.network import FAR, Network
from lib.service_manager import ServiceManager
from lib.sshd import Sshd

SEED = os.environ.get("FANMIRROR_SEED", "2026")
SECONDS = float(os.environ.get("FANMIRROR_SOAK_SECONDS", "45"))
TIMEOUT = "3s"
LONGEST = 1.5  # seconds that a failure lasts, and between two
OUTAGE = 5.0  # seconds of a silence that is to be noticed
FAILURES = 5  # between two comparisons
PROCESSES = 2
OVERFLOW = 10_000  # files; each is more than one event of a queue of 16,384
STAYS_FREE = 4 << 20  # bytes on a full target


class Soak(WorkplaceCase):
    def setUp(self):
        print(f"seed {SEED}", flush=True)
        self.random = random.Random(f"{SEED}/{FILESYSTEM}")
        self.network = Network()  # before any thread
        self.addCleanup(self.network.close)
        self.sshd = Sshd(self.work.directory("sshd"), address=FAR, prefix=self.network.far.prefix)
        self.addCleanup(self.sshd.close)
        self.source_disk = self.work.add(Disk(FILESYSTEM, self.work.directory("source")))
        self.source = os.path.join(self.source_disk.path, "tree")
        self.near_disk = disk.Disk(FILESYSTEM, self.work.directory("near"), disk.Holder(self.work), "1G")
        self.addCleanup(self.near_disk.close)
        self.near = os.path.join(self.near_disk.path, "copy")
        self.far = os.path.join(self.work.filesystem(FILESYSTEM, "far").path, "copy")
        os.makedirs(os.path.join(self.source, "churn"))
        self.outside = os.path.join(self.source_disk.path, "outside")
        os.makedirs(self.outside)
        directory = self.work.directory("daemon")
        self.service = ServiceManager(directory)
        self.addCleanup(self.service.close)
        targets = [{"name": "near", "path": self.near, "timeout": TIMEOUT}, self.sshd.target(self.far, timeout=TIMEOUT)]
        self.mirror = Mirror(directory, [{"name": "job", "source": self.source, "target": targets}],
                             daemon={"bounded_queue": True}, service=self.service)
        self.addCleanup(self.mirror.close)
        self.churners = []
        self.rounds = 0
        self.mirror.start()

    def start_churn(self):
        self.rounds += 1
        churners = [churn.Churner(os.path.join(self.source, "churn"), f"{SEED}/{self.rounds}/{i}", self.outside)
                    for i in range(PROCESSES)]
        self.churners = [churn.endless(churner.step, 0.004) for churner in churners]

    def end_churn(self):
        pids, self.churners = self.churners, []
        churn.end(pids)

    def pause(self):
        time.sleep(self.random.random() * LONGEST)

    def signal(self, number):
        self.mirror.process.send_signal(number)

    def daemon_killed(self):
        self.signal(signal.SIGKILL)
        self.mirror.process.wait()
        self.pause()
        self.mirror.start()

    def daemon_stopped(self):
        self.mirror.stop()
        self.pause()
        self.mirror.start()

    def daemon_killed_and_the_queue_lost(self):
        self.signal(signal.SIGKILL)
        self.mirror.process.wait()
        self.service.forget()
        self.pause()
        self.mirror.start()

    def queue_overflows(self):
        self.signal(signal.SIGSTOP)
        storm = os.path.join(self.source, "storm")
        shutil.rmtree(storm, ignore_errors=True)
        os.mkdir(storm)
        for i in range(OVERFLOW):
            with open(os.path.join(storm, str(i)), "wb") as file:
                file.write(b"%d" % i)
        self.signal(signal.SIGCONT)

    def one_killed(self, pids):
        for pid in pids[:1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def near_receiver_killed(self):
        self.one_killed(self.mirror.receivers())

    def far_receiver_killed(self):
        self.one_killed(descendants(self.sshd.process.pid, b"receive"))

    def far_host_refuses(self):
        self.sshd.kill()
        self.pause()
        self.sshd.start()

    def cable_pulled(self):
        self.network.link_down()
        self.pause()
        self.network.link_up()

    def packets_vanish(self):
        self.network.forward(False)
        time.sleep(OUTAGE)
        self.network.forward(True)

    def near_target_full(self):
        room = os.statvfs(self.near_disk.path)
        ballast = os.path.join(self.near_disk.path, "ballast")
        run("fallocate", "-l", str(max(room.f_bavail * room.f_bsize - STAYS_FREE, 4096)), ballast, check=False)
        self.pause()
        os.unlink(ballast)

    def near_target_read_only(self):
        # Refused while something is being written there.
        until(lambda: run("mount", "-o", "remount,ro", self.near_disk.path, check=False).returncode == 0, "a moment of rest")
        self.pause()
        self.near_disk.remount("rw")

    def near_target_loses_power(self):
        receiver = until(self.mirror.receivers, "a receiver")[0]
        self.signal(signal.SIGSTOP)
        os.kill(receiver, signal.SIGSTOP)
        image = self.near_disk.clone()
        os.kill(receiver, signal.SIGKILL)
        self.near_disk.unmount()
        self.near_disk.become(image)
        self.signal(signal.SIGCONT)

    def source_unmounted(self):
        self.end_churn()
        run("umount", self.source_disk.path)
        self.pause()
        self.source_disk.mount()
        self.start_churn()

    def barrier_falls(self):
        """False while the job is paused: it may notice only now that its source was away."""
        if any(target["state"] in ("paused", "pausing") for target in self.mirror.job()["targets"]):
            return False
        try:
            self.mirror.wait()
        except AssertionError as error:
            if not re.search("paused|pausing", str(error).splitlines()[0]):
                raise
            return False
        return True

    def test_equal_after_all_of_them(self):
        failures = [self.daemon_killed, self.daemon_stopped, self.daemon_killed_and_the_queue_lost, self.queue_overflows,
                    self.near_receiver_killed, self.far_receiver_killed, self.far_host_refuses, self.cable_pulled,
                    self.packets_vanish, self.near_target_full, self.near_target_read_only, self.near_target_loses_power,
                    self.source_unmounted]
        waiting, happened = [], collections.Counter()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.start_churn()
            try:
                for _ in range(FAILURES):
                    if not waiting:
                        waiting = self.random.sample(failures, len(failures))
                    failure = waiting.pop()
                    print(f"{failure.__name__}", flush=True)
                    failure()
                    happened[failure.__name__] += 1
                    self.pause()
            finally:
                self.end_churn()
            until(self.barrier_falls, "a job that goes on")
            self.settled(self.mirror, self.source, self.near)
            self.settled(self.mirror, self.source, self.far)
            print(f"equal, after {sum(happened.values())} failures", flush=True)
        print(f"{dict(happened)}", flush=True)


if __name__ == "__main__":
    main()
