"""A stop and a start cost no data; what changed in between is found; whatever is killed, the trees become equal."""

import os
import shutil
import signal

from lib import churn, population
from lib.calls import exchange
from lib.case import FILESYSTEM, PLACE, WorkplaceCase, main
from lib.host import until
from lib.mirror import Mirror
from lib.sshd import Sshd

DATA = 200_000  # bytes of a file whose sending again would show
IDLE = 20_000  # bytes that a connection may cost when there is nothing to send
SEED = os.environ.get("FANMIRROR_SEED", "2026")


class RestartCase(WorkplaceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source_fs = cls.work.filesystem(FILESYSTEM, "source")
        cls.target_fs = cls.work.filesystem(FILESYSTEM, "target")
        cls.sshd = None
        if PLACE == "ssh":
            cls.sshd = Sshd(cls.work.directory("sshd"))
            cls.addClassCleanup(cls.sshd.close)

    def setUp(self):
        """A mirror for each test, which it may stop and kill as it likes; not started."""
        name = self.id().rsplit(".", 1)[-1]
        self.source = os.path.join(self.source_fs.path, name)
        self.target = os.path.join(self.target_fs.path, name)
        os.mkdir(self.source)
        target = {"name": "near", "path": self.target}
        if self.sshd:
            target = self.sshd.target(self.target)
        self.mirror = Mirror(self.work.directory("daemon-" + name),
                             [{"name": "job", "source": self.source, "target": [target]}])
        self.addCleanup(shutil.rmtree, self.target, ignore_errors=True)
        self.addCleanup(shutil.rmtree, self.source, ignore_errors=True)
        self.addCleanup(self.mirror.close)

    def write(self, name, data):
        path = os.path.join(self.source, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def fill(self, files=30):
        for i in range(files):
            self.write(f"d{i % 3}/f{i}", os.urandom(DATA))

    def settle(self, **options):
        self.settled(self.mirror, self.source, self.target, **options)

    def sent_since_start(self):
        target = self.mirror.target()
        return target["wire_bytes_sent"], target["acked_files"]


class CleanRestart(RestartCase):
    def offline(self, change):
        """Mirrors, stops, changes, starts; returns bytes and files that were sent after it."""
        self.mirror.start()
        self.settle()
        self.mirror.stop()
        change()
        self.mirror.start()
        self.settle()
        return self.sent_since_start()

    def assert_nothing_sent(self, change, made=0):
        """`made`: nodes without content that are made anew, which count as files."""
        sent, files = self.offline(change)
        self.assertEqual(files, made)
        self.assertLess(sent, IDLE)

    def test_nothing_changed(self):
        self.fill()
        population.make_everything(self.source)
        self.assert_nothing_sent(lambda: None)

    def test_file_renamed(self):
        self.fill()
        self.assert_nothing_sent(lambda: os.rename(f"{self.source}/d0/f0", f"{self.source}/d1/renamed"))

    def test_directory_renamed(self):
        self.fill()
        self.assert_nothing_sent(lambda: os.rename(f"{self.source}/d0", f"{self.source}/d1/renamed"))

    def test_names_swapped(self):
        def swap():
            for old, new in (("d0", "t"), ("d1", "d0"), ("t", "d1")):
                os.rename(f"{self.source}/{old}", f"{self.source}/{new}")

        self.fill()
        self.assert_nothing_sent(swap)

    def test_linked(self):
        self.fill()
        self.assert_nothing_sent(lambda: os.link(f"{self.source}/d0/f0", f"{self.source}/d2/linked"))

    def test_link_removed(self):
        self.fill()
        os.link(f"{self.source}/d0/f0", f"{self.source}/d2/linked")
        os.link(f"{self.source}/d0/f0", f"{self.source}/d2/linked too")
        self.assert_nothing_sent(lambda: os.unlink(f"{self.source}/d0/f0"))

    def test_link_moved_to_another_file(self):
        """The same names, but they are grouped in another way."""
        def regroup():
            os.unlink(f"{self.source}/d2/linked")
            os.link(f"{self.source}/d1/f1", f"{self.source}/d2/linked")

        self.fill()
        os.link(f"{self.source}/d0/f0", f"{self.source}/d2/linked")
        self.assert_nothing_sent(regroup)

    def test_symlink_retargeted(self):
        def retarget():
            os.unlink(f"{self.source}/link")
            os.symlink("d1/f2", f"{self.source}/link")  # as long as before
            os.symlink("d1/f2", f"{self.source}/t")
            os.rename(f"{self.source}/t", f"{self.source}/replaced")

        self.fill()
        for name in ("link", "replaced"):
            os.symlink("d1/f1", f"{self.source}/{name}")
        self.assert_nothing_sent(retarget, made=2)

    def test_type_changed(self):
        def change():
            os.unlink(f"{self.source}/file")
            os.mkdir(f"{self.source}/file")
            shutil.rmtree(f"{self.source}/directory")
            os.mkfifo(f"{self.source}/directory")
            os.unlink(f"{self.source}/link")
            os.rename(f"{self.source}/d0/f0", f"{self.source}/link")
            os.rename(f"{self.source}/d1", f"{self.source}/file/d1")

        self.fill()
        self.write("file", os.urandom(DATA))
        self.write("directory/below", os.urandom(DATA))
        os.symlink("file", f"{self.source}/link")
        self.assert_nothing_sent(change, made=1)

    def test_all_kinds_at_once(self):
        """Only the content that is new travels, once, whatever else happened to it and around it."""
        def change():
            old = os.stat(f"{self.source}/d0/f3")
            self.write("d0/f3", os.urandom(DATA))  # size and mtime kept
            os.utime(f"{self.source}/d0/f3", ns=(old.st_atime_ns, old.st_mtime_ns))
            self.write("d0/new", os.urandom(DATA))
            self.write("d1/f1", os.urandom(DATA // 2))
            os.rename(f"{self.source}/d1/f1", f"{self.source}/d1/changed and renamed")
            exchange(f"{self.source}/d0", f"{self.source}/d1")
            os.makedirs(f"{self.source}/d0/deep")
            os.rename(f"{self.source}/d2", f"{self.source}/d0/deep/d2")
            os.link(f"{self.source}/d1/f6", f"{self.source}/d0/deep/linked")
            os.chmod(f"{self.source}/d1/f6", 0o600)
            os.unlink(f"{self.source}/d1/f9")
            os.symlink("elsewhere", f"{self.source}/d1/f9")

        self.fill()
        sent, files = self.offline(change)
        self.assertEqual(files, 4)  # three files and a symlink
        self.assertLess(sent, DATA * 5 // 2 + IDLE)

    def test_metadata_only(self):
        def change():
            os.chmod(f"{self.source}/d0/f0", 0o600)
            os.chown(f"{self.source}/d1", 4, 5)
            os.setxattr(f"{self.source}/d1/f1", "user.x", b"y")
            os.utime(f"{self.source}/d2/f2", ns=(1, population.EPOCH_2001))

        self.fill()
        sent, _ = self.offline(change)
        self.assertLess(sent, DATA * 3)  # a new ctime may make it read files again, but only these

    def test_deleted(self):
        def delete():
            shutil.rmtree(f"{self.source}/d0")
            os.unlink(f"{self.source}/d1/f1")

        self.fill()
        self.assert_nothing_sent(delete)

    def test_new_and_changed(self):
        def change():
            self.write("d0/new", b"new")
            self.write("d1/f1", os.urandom(DATA))  # the same size
            os.utime(f"{self.source}/d1/f1", ns=(1, population.EPOCH_2001))

        self.fill()
        self.write("d1/f1", os.urandom(DATA))
        os.utime(f"{self.source}/d1/f1", ns=(1, population.EPOCH_2001))  # and the same mtime, before and after
        _, files = self.offline(change)
        self.assertEqual(files, 2)

    def test_churn_while_it_is_stopped(self):
        churn.finish(churn.start(self.source, f"{SEED}/before", 2, 1500))
        self.offline(lambda: churn.finish(churn.start(self.source, f"{SEED}/offline", 2, 1500)))

    def test_many_restarts_under_churn(self):
        self.mirror.start()
        pids = churn.start(self.source, f"{SEED}/restarts", 2, 3000)
        for _ in range(3):
            self.mirror.restart()
        churn.finish(pids)
        self.settle()


class Killed(RestartCase):
    def fill_and_start(self):
        """A tree that takes a while to send, with the initial sync under way."""
        for i in range(1500):
            self.write(f"d{i % 7}/f{i}", os.urandom(10_000))
        self.mirror.start()
        until(lambda: self.mirror.target()["acked_files"] + self.mirror.target()["checked_files"] > 0
              or self.mirror.target()["wire_bytes_sent"] > 1_000_000, "the initial sync to begin")

    def kill_receiver(self):
        """However it is reached: as a child of the daemon, or in a session of sshd."""
        pids = self.sshd.sessions() if self.sshd else self.mirror.receivers()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return pids

    def test_daemon_in_the_initial_sync(self):
        self.fill_and_start()
        self.mirror.kill()
        self.write("later", b"made while it is dead")
        shutil.rmtree(f"{self.source}/d3")
        self.mirror.start()
        self.settle()

    def test_daemon_several_times_under_churn(self):
        self.mirror.start()
        for part in range(12):
            pids = churn.start(self.source, f"{SEED}/killed/{part}", 2, 500)
            until(lambda: self.mirror.target()["acked_files"] > 0 or not churn.running(pids), "the first acks")
            self.mirror.kill()
            churn.finish(pids)
            self.mirror.start()
        self.settle()

    def test_receiver_in_the_initial_sync(self):
        self.fill_and_start()
        self.assertTrue(self.kill_receiver())
        self.settle()

    def test_receiver_several_times_under_churn(self):
        self.mirror.start()
        self.mirror.wait()
        pids = churn.start(self.source, f"{SEED}/receiver", 2, 3000)
        killed = 0
        while churn.running(pids) or killed < 3:
            until(lambda: self.mirror.target()["state"] in ("live", "syncing"), "a connection")
            killed += 1 if self.kill_receiver() else 0
        churn.finish(pids)
        self.settle()


if __name__ == "__main__":
    main()
