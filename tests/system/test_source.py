"""The source goes and comes back: unmounted, mounted over, replaced, failing. Nothing is deleted, and all goes on."""

import array
import fcntl
import itertools
import os
import shutil
import subprocess

from lib import churn, judge
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import Disk, run, until
from lib.mirror import Mirror, fanmirror

SEED = os.environ.get("FANMIRROR_SEED", "2026")
NUMBERS = itertools.count()
DATA = 100_000  # bytes of a file whose sending again would show
IDLE = 20_000  # bytes that a connection, a scan or a listing may cost
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
FORGETS = FILESYSTEM == "tmpfs"  # with its unmounting the filesystem itself is gone


def listing(path):
    return sorted(os.path.join(at, name) for at, dirs, files in os.walk(path) for name in dirs + files
                  if ".fanmirror" not in at and name != ".fanmirror")


class SourceCase(WorkplaceCase):
    def setUp(self):
        name = f"t{next(NUMBERS)}"  # short, as the path of a socket must be
        self.disk = self.work.add(Disk(FILESYSTEM, os.path.join(self.work.path, name, "disk")))
        self.source = os.path.join(self.disk.path, "tree")
        self.target = os.path.join(self.work.path, name, "target")
        os.mkdir(self.source)
        self.fill(self.source)
        self.mirror = Mirror(os.path.join(self.work.path, name, "daemon"), [self.job("job", self.source, self.target)])
        self.addCleanup(self.mirror.close)

    @staticmethod
    def job(name, source, target):
        return {"name": name, "source": source, "target": [{"name": "near", "path": target}]}

    @staticmethod
    def fill(root, files=20):
        for i in range(files):
            os.makedirs(os.path.join(root, f"d{i % 3}"), exist_ok=True)
            with open(os.path.join(root, f"d{i % 3}", f"f{i}"), "wb") as file:
                file.write(os.urandom(DATA))

    def write(self, name, data=b"data"):
        with open(os.path.join(self.source, name), "wb") as file:
            file.write(data)

    def start(self):
        self.mirror.start()
        self.settle()

    def settle(self, *wait):
        self.mirror.wait(*wait)
        try:
            judge.judge(self.source, self.target)
        except AssertionError as error:
            raise AssertionError(f"{error}\nstatus: {self.mirror.status_text()}\nlog:\n{self.mirror.log()}") from None

    def until_state(self, state, job=None):
        until(lambda: self.mirror.target(job)["state"] == state,
              lambda: f"{state}; status: {self.mirror.status_text()}\nlog:\n{self.mirror.log()}")

    def until_goes_on(self):
        until(lambda: self.mirror.target()["state"] in ("live", "syncing"),
              lambda: f"it goes on; status: {self.mirror.status_text()}\nlog:\n{self.mirror.log()}")

    def unmount(self):
        """As a person would: at the first attempt."""
        self.assertEqual(run("umount", self.disk.path, check=False).stderr, "")

    def adopt(self, *argv):
        return fanmirror("adopt", "--socket", self.mirror.socket, "job", *argv)


class Comes(SourceCase):
    def test_unmounted_under_churn(self):
        self.mirror.start()
        pids = churn.start(self.source, f"{SEED}/unmounted", 2, 1500)
        churn.finish(pids)
        self.unmount()  # much is still under way
        self.until_state("paused")
        wait = fanmirror("wait", "--socket", self.mirror.socket, "--timeout", "600s")
        self.assertEqual(wait.returncode, 1)
        self.assertIn("paused", wait.stderr)
        if FORGETS:
            return
        self.disk.mount()
        self.until_goes_on()
        self.settle()

    def test_unmounted_and_mounted_again(self):
        self.start()
        before = listing(self.target)
        self.unmount()
        self.until_state("paused")
        self.assertEqual(listing(self.target), before)
        self.assertIn("paused", self.mirror.job()["error"])
        self.disk.mount()
        if FORGETS:
            return
        # Made before it looks: found by the scan.
        os.rename(os.path.join(self.source, "d0"), os.path.join(self.source, "d1", "moved"))
        self.write("new")
        self.until_goes_on()
        self.settle()
        self.assertGreater(self.mirror.status()["counters"]["scans"], 1)
        self.write("later")
        self.settle()

    def test_the_mount_point_itself_is_the_source(self):
        """What is left behind is an empty directory."""
        self.mirror.close()
        self.mirror.jobs[0]["source"] = self.source = self.disk.path
        self.mirror.write_config()
        self.start()
        before = listing(self.target)
        self.unmount()
        self.until_state("paused")
        self.mirror.stop()
        self.mirror.start()  # nor does a new daemon take it for the source
        self.until_state("paused")
        self.assertIn("empty", self.mirror.target()["last_error"])
        self.assertEqual(listing(self.target), before)
        adopt = self.adopt()
        self.assertEqual(adopt.returncode, 1)
        self.assertIn("empty", adopt.stderr)
        self.assertEqual(listing(self.target), before)
        if FORGETS:
            return
        self.disk.mount()
        self.until_goes_on()
        self.settle()

    def test_mounted_over(self):
        self.start()
        elsewhere = self.work.directory("elsewhere")
        run("mount", "--bind", self.source, elsewhere)
        self.addCleanup(run, "umount", elsewhere)
        run("mount", "-t", "tmpfs", "over", self.source)
        self.write("not-mine")
        before = listing(self.target)
        self.until_state("needs-adoption")
        shutil.rmtree(os.path.join(elsewhere, "d2"))
        self.assertEqual(listing(self.target), before)
        run("umount", self.source)
        self.until_goes_on()
        self.settle()
        self.assertFalse(os.path.exists(os.path.join(self.target, "d2")))

    def test_read_only_and_back(self):
        self.start()
        self.disk.remount("ro")
        self.settle()
        self.assertEqual(self.mirror.target()["state"], "live")
        self.disk.remount("rw")
        self.write("new")
        self.settle()

    def test_nothing_of_ours_holds_the_filesystem(self):
        if FORGETS:
            self.skipTest("tmpfs has no device")
        self.start()
        self.unmount()
        self.until_state("paused")
        # The loop device goes with the last user of the filesystem.
        until(lambda: self.disk.image not in run("losetup", "-a").stdout, "the device is free")

    def test_starts_without_its_source_beside_another_job(self):
        other_source, other_target = self.work.directory("other-source"), os.path.join(self.work.path, "other-target")
        self.fill(other_source, 3)
        self.mirror.jobs.append(self.job("other", other_source, other_target))
        self.mirror.write_config()
        self.start()
        self.mirror.stop()
        before = listing(self.target)
        self.unmount()
        self.mirror.start()
        self.until_state("paused", "job")
        with open(os.path.join(other_source, "new"), "w"):
            pass
        self.mirror.wait("other")
        judge.judge(other_source, other_target)
        self.assertEqual(listing(self.target), before)
        if FORGETS:
            return
        self.disk.mount()
        self.write("new")
        self.until_goes_on()
        self.settle("job")


class IsAnother(SourceCase):
    def replace(self):
        """Another filesystem at the same place: most of it is a copy, with the same times."""
        copy = os.path.join(self.work.path, f"copy{next(NUMBERS)}")
        run("cp", "-a", self.source, copy)
        self.unmount()
        self.other = self.work.add(Disk(FILESYSTEM, self.disk.path))
        run("cp", "-a", copy, self.source)
        os.unlink(os.path.join(self.source, "d0", "f0"))
        self.write("new")

    def test_nothing_is_done_until_the_right_one_is_back(self):
        self.start()
        before = listing(self.target)
        self.replace()
        self.until_state("needs-adoption")
        self.assertIn("fanmirror adopt", self.mirror.target()["last_error"])
        self.assertEqual(listing(self.target), before)
        if FORGETS:
            return
        run("umount", self.disk.path)
        self.disk.mount()
        self.until_goes_on()
        self.settle()

    def test_adopted(self):
        self.start()
        self.replace()
        self.until_state("needs-adoption")
        sent = self.mirror.wire_bytes()
        adopt = self.adopt()
        self.assertEqual((adopt.returncode, adopt.stderr), (0, ""))
        self.until_goes_on()
        self.settle()
        self.assertFalse(os.path.exists(os.path.join(self.target, "d0", "f0")))
        self.assertLess(self.mirror.wire_bytes() - sent, DATA)
        self.assertFalse(os.path.exists(os.path.join(self.mirror.state_dir, "job", "near", "adoption")))
        self.mirror.restart()
        self.settle()

    def test_an_adoption_survives_a_crash(self):
        self.start()
        self.replace()
        self.until_state("needs-adoption")
        self.assertEqual(self.adopt("--target", "near").returncode, 0)
        self.mirror.kill()
        self.mirror.start()
        self.until_goes_on()
        self.settle()

    def test_no_such_target_and_no_source(self):
        self.start()
        adopt = self.adopt("--target", "far")
        self.assertEqual(adopt.returncode, 1)
        self.assertIn("job/near", adopt.stderr)
        self.unmount()
        self.until_state("paused")
        adopt = self.adopt()
        self.assertEqual(adopt.returncode, 1)
        self.assertEqual(len(adopt.stderr.splitlines()), 1)

    def test_a_target_without_its_marker_is_taken_over_when_adopted(self):
        self.start()
        self.mirror.stop()
        shutil.rmtree(os.path.join(self.target, ".fanmirror"))
        self.mirror.start()
        until(lambda: "use adopt" in self.mirror.target()["last_error"], "the refusal")
        self.assertEqual(self.adopt().returncode, 0)
        self.settle()
        self.assertLess(self.mirror.wire_bytes(), DATA)


class Fails(SourceCase):
    def test_a_filesystem_that_was_shut_down(self):
        if FILESYSTEM not in ("ext4", "xfs"):
            self.skipTest("cannot be shut down")
        self.start()
        before = listing(self.target)
        self.write("soon", b"x" * DATA)
        fd = os.open(self.disk.path, os.O_RDONLY)
        run("sync", "-f", self.disk.path)
        try:
            fcntl.ioctl(fd, SHUTDOWN, array.array("I", [2]))
        finally:
            os.close(fd)
        wait = fanmirror("wait", "--socket", self.mirror.socket, "--timeout", "3s")
        self.assertTrue(set(before) <= set(listing(self.target)), wait.stderr)
        self.unmount()
        self.until_state("paused")
        self.disk.mount()
        self.until_goes_on()
        self.settle()


class OwnState(SourceCase):
    def data_of(self, store):
        return os.path.join(self.mirror.state_dir, "job", "near", store, "data.mdb")

    def overwrite(self, store, size=200_000):
        with open(self.data_of(store), "r+b") as file:
            file.write(os.urandom(size))

    def settle_with_nothing_sent(self):
        self.mirror.start()
        self.settle()
        self.assertEqual(self.mirror.target()["acked_files"], 0)

    def test_a_damaged_catalogue_is_rebuilt(self):
        self.start()
        for damage in (lambda: self.overwrite("catalogue"), lambda: os.truncate(self.data_of("catalogue"), 0),
                       lambda: os.truncate(self.data_of("catalogue"), 20_000),
                       lambda: shutil.rmtree(os.path.dirname(self.data_of("catalogue")))):
            self.mirror.stop()
            damage()
            self.settle_with_nothing_sent()

    def test_a_damaged_pending_set_starts_empty(self):
        self.start()
        for damage in (lambda: self.overwrite("pending"), lambda: os.truncate(self.data_of("pending"), 20_000)):
            self.mirror.stop()
            damage()
            self.settle_with_nothing_sent()

    def damaged_while_running(self, damage):
        """It goes on or dies; a daemon that is started again, as a service is, finds what happened."""
        self.start()
        damage()
        self.write("after")
        for _ in range(3):
            try:
                self.mirror.process.wait(5)
            except subprocess.TimeoutExpired:
                break
            self.mirror.process = None
            self.mirror.start()
        self.settle()

    def test_a_catalogue_that_is_damaged_while_it_runs(self):
        self.damaged_while_running(lambda: self.overwrite("catalogue"))
        self.mirror.kill()
        self.settle_with_nothing_sent()

    def test_stores_that_are_truncated_while_it_runs(self):
        def truncate():
            for store in ("catalogue", "pending"):
                os.truncate(self.data_of(store), 0)

        self.damaged_while_running(truncate)


if __name__ == "__main__":
    main()
