"""The target is away, too full, or not the right one; or very much is deleted. The mirror waits, says so, and goes on."""

import hashlib
import os
import shutil
import signal
import time

from lib.case import FILESYSTEM, PLACE, WorkplaceCase, main
from lib.host import run, until
from lib.mirror import Mirror, fanmirror
from lib.sshd import Sshd

MANY = 1500  # entries: above those that the guard against mass deletes leaves alone
SMALL = "340M"  # of a filesystem that is to be filled: the least that xfs takes


def contents(root):
    """Every path below `root`, with its kind, owner, mode, mtime and content: a directory byte for byte."""
    found = {}
    for base, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(base, name)
            st = os.lstat(path)
            content = ""
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            found[os.path.relpath(path, root)] = (st.st_mode, st.st_uid, st.st_mtime_ns, st.st_size, content)
    return found


class AwayCase(WorkplaceCase):
    target_size = None
    job = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source_fs = cls.work.filesystem(FILESYSTEM, "source")
        cls.sshd = None
        if PLACE == "ssh":
            cls.sshd = Sshd(cls.work.directory("sshd"))
            cls.addClassCleanup(cls.sshd.close)

    def setUp(self):
        name = f"{len(self.work.filesystems)}"  # short: a socket's path must be
        size = {"size": self.target_size} if self.target_size else {}
        self.target_fs = self.work.filesystem(FILESYSTEM, "target-" + name, **size)
        self.source = os.path.join(self.source_fs.path, "tree-" + name)
        self.target = os.path.join(self.target_fs.path, "copy")
        os.mkdir(self.source)
        self.addCleanup(self.target_fs.close)
        self.addCleanup(shutil.rmtree, self.source, ignore_errors=True)
        self.mirror = self.make_mirror("daemon-" + name, self.source)

    def make_mirror(self, directory, source, **target):
        place = {"name": "near", "path": self.target, "timeout": "2s", **target}
        if self.sshd:
            place = self.sshd.target(self.target, timeout="2s", **target)
        mirror = Mirror(self.work.directory(directory), [{"name": "job", "source": source, "target": [place], **self.job}])
        self.addCleanup(mirror.close)
        return mirror

    def fill(self, count=MANY):
        for i in range(count):
            self.write(f"d{i % 5}/f{i}", b"%d" % i)

    def settle(self):
        self.settled(self.mirror, self.source, self.target)

    def until_target(self, condition, what):
        """The target's status once the condition holds for it."""
        def fitting():
            target = self.mirror.target()
            return target if condition(target) else None

        return until(fitting, lambda: f"{what}: {self.mirror.status_text()}\n{self.mirror.log()}")

    def assert_waits(self):
        """The barrier does not pass."""
        result = fanmirror("wait", "--socket", self.mirror.socket, "--timeout", "1s")
        self.assertEqual(result.returncode, 1, result.stdout)


class Guard(AwayCase):
    job = {"max_delete": "50%"}

    def delete_most(self):
        for i in range(MANY):
            if i % 5 != 4:
                os.unlink(f"{self.source}/d{i % 5}/f{i}")

    def until_holding(self):
        """More than half is gone from the source and not from the target; the first may have gone before the rest came."""
        target = self.until_target(lambda target: target["state"] == "holding", "deletes are held back")
        self.assertGreater(target["held_deletes"], 0)
        self.assertIn("fanmirror approve job", target["last_error"])
        self.assertGreater(sum(len(files) for _, _, files in os.walk(self.target)), MANY // 2)

    def approve(self):
        result = fanmirror("approve", "job", "--socket", self.mirror.socket)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_mass_delete_waits_for_a_person_and_all_else_flows(self):
        self.fill()
        self.mirror.start()
        self.settle()
        self.delete_most()
        self.until_holding()
        self.write("d0/new", b"made while it holds")
        os.rename(f"{self.source}/d4/f4", f"{self.source}/d1/moved")
        self.write("d4/f9", b"changed while it holds")
        until(lambda: os.path.exists(f"{self.target}/d0/new"), "what is new")
        until(lambda: os.path.exists(f"{self.target}/d1/moved") and not os.path.exists(f"{self.target}/d4/f4"), "what moved")
        self.assert_waits()
        self.approve()
        self.settle()
        self.assertEqual(self.mirror.target()["state"], "live")

    def test_an_approval_is_not_for_later_deletes(self):
        self.fill()
        self.mirror.start()
        self.settle()
        self.delete_most()
        self.until_holding()
        self.approve()
        self.settle()
        self.fill()
        self.settle()
        self.delete_most()
        self.until_holding()
        self.approve()
        self.settle()

    def test_it_holds_over_a_restart_and_what_came_back_is_let_go(self):
        self.fill()
        self.mirror.start()
        self.settle()
        self.delete_most()
        self.until_holding()
        self.mirror.kill()
        self.mirror.start()
        self.until_holding()
        self.mirror.stop()
        shutil.rmtree(os.path.join(self.mirror.state_dir, "job", self.mirror.jobs[0]["target"][0]["name"], "pending"))
        self.mirror.start()  # as after a reboot: what is pending is not known
        self.until_holding()
        self.fill()
        self.settle()
        self.until_target(lambda target: target["state"] == "live", "nothing is held any more")

    def test_what_a_scan_finds_gone_is_judged_as_a_whole(self):
        self.fill()
        self.mirror.start()
        self.settle()
        self.mirror.stop()
        self.delete_most()
        self.mirror.start()
        self.until_holding()
        self.approve()
        self.settle()

    def test_few_deletes_found_by_a_scan_need_nobody(self):
        self.fill()
        self.mirror.start()
        self.settle()
        self.mirror.stop()
        shutil.rmtree(f"{self.source}/d0")
        self.mirror.start()
        self.settle()

    def test_a_directory_that_is_replaced_is_kept_until_approved(self):
        self.fill()
        self.mirror.start()
        self.settle()
        for i in range(4):
            shutil.rmtree(f"{self.source}/d{i}")
            self.write(f"d{i}", b"a file now")
        self.until_holding()
        until(lambda: os.path.isfile(f"{self.target}/d3"), "what replaced the directory")
        kept = sum(len(files) for _, _, files in os.walk(f"{self.target}/.fanmirror/limbo"))
        self.assertGreater(kept, MANY // 5, "what is held is in limbo")
        self.approve()
        self.settle()


class Peer(AwayCase):
    def receiver(self):
        """The receiver's process: the child of the daemon, or of the session of sshd."""
        root = ("--root\0" + self.target).encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read()
            except OSError:
                continue
            if root in command and b"receive\0" in command:
                found.append(int(pid))
        return found

    def test_a_receiver_that_stops_is_noticed_and_replaced(self):
        self.mirror.start()
        self.write("before")
        self.settle()
        (pid,) = self.receiver()
        os.kill(pid, signal.SIGSTOP)  # as if nothing got through any more
        began = time.monotonic()
        self.write("after")
        self.until_target(lambda target: "silent for 2s" in target["last_error"] or pid not in self.receiver(), "the silence")
        self.settle()
        self.assertIn("silent for 2s", self.mirror.log())
        self.assertLess(time.monotonic() - began, 120)
        self.assertNotIn(pid, self.receiver())

    def test_a_receiver_whose_source_stops_lets_go(self):
        self.mirror.start()
        self.write("before")
        self.settle()
        (pid,) = self.receiver()
        self.mirror.process.send_signal(signal.SIGSTOP)
        until(lambda: pid not in self.receiver(), "the receiver of a source that is silent ends")
        self.mirror.process.send_signal(signal.SIGCONT)
        self.write("after")
        self.settle()

    def test_a_stalled_disk_is_no_lost_peer(self):
        if FILESYSTEM == "tmpfs":
            self.skipTest("tmpfs cannot be frozen")
        self.mirror.start()
        self.write("before")
        self.settle()
        (pid,) = self.receiver()
        run("fsfreeze", "--freeze", self.target_fs.path)
        try:
            self.write("after")
            time.sleep(6)  # three times the timeout: the time is what is tested
            self.assertEqual(self.mirror.target()["state"], "live")
        finally:
            run("fsfreeze", "--unfreeze", self.target_fs.path)
        self.settle()
        self.assertEqual(self.receiver(), [pid])


class Room(AwayCase):
    target_size = SMALL

    def test_a_full_target_goes_on_when_there_is_room(self):
        self.mirror.start()
        self.write("before")
        self.settle()
        ballast = os.path.join(self.target_fs.path, "ballast")
        run("fallocate", "-l", "180M", ballast)
        for i in range(20):
            self.write(f"large/{i}", os.urandom(10_000_000))
        self.until_target(lambda target: "free space on the target" in target["last_error"], "the target is full")
        self.assert_waits()
        os.unlink(ballast)
        self.settle()

    def test_a_read_only_target_goes_on_when_it_is_writable(self):
        self.mirror.start()
        self.write("before")
        self.settle()
        self.target_fs.remount("ro")
        self.write("after")
        self.until_target(lambda target: "read-write" in target["last_error"], "the target is read-only")
        self.assert_waits()
        self.target_fs.remount("rw")
        self.settle()

    def test_a_file_that_the_target_cannot_take_is_named(self):
        if FILESYSTEM == "tmpfs":
            self.skipTest("older kernels have no immutable files on tmpfs")
        self.mirror.start()
        self.write("d/stuck", b"old")
        self.settle()
        run("chattr", "+i", f"{self.target}/d/stuck")
        try:
            self.write("d/stuck", b"new")
            self.write("d/other", b"new")
            target = self.until_target(lambda now: now["failing_count"] > 0, "the file that fails")
            self.assertIn("d/stuck", [failing["path"] for failing in target["failing"]])
            self.assertIn("chattr -i", target["failing"][0]["error"])
            until(lambda: os.path.exists(f"{self.target}/d/other"), "what does not fail")
        finally:
            run("chattr", "-i", f"{self.target}/d/stuck")
        self.write("d/stuck", b"newer")
        self.settle()
        self.assertEqual(self.mirror.target()["failing_count"], 0)


class WrongRoot(AwayCase):
    def assert_refused(self, why):
        before = contents(self.target)
        self.mirror.start()
        self.write("more")
        self.until_target(lambda target: why in target["last_error"], why)
        self.assert_waits()
        self.assertEqual(contents(self.target), before)

    def mirror_once(self):
        self.fill(20)
        self.mirror.start()
        self.settle()
        self.mirror.stop()

    def test_an_unmounted_disk_is_not_written_to(self):
        self.mirror_once()
        self.target_fs.close()
        os.makedirs(self.target)
        self.assert_refused("its marker")

    def test_another_jobs_root_is_not_written_to(self):
        self.mirror_once()
        other = os.path.join(self.source_fs.path, "another-source")
        os.makedirs(other, exist_ok=True)
        with open(os.path.join(other, "theirs"), "w") as file:
            file.write("theirs")
        self.mirror = self.make_mirror("daemon-of-another", other)
        self.source = other
        self.assert_refused("it is the mirror of job")

    def test_a_restored_backup_is_compared_and_only_the_difference_travels(self):
        for i in range(50):
            self.write(f"d/{i}", os.urandom(100_000))
        self.mirror.start()
        self.settle()
        self.mirror.stop()
        backup = self.target + ".backup"
        run("cp", "-a", self.target, backup)
        self.mirror.start()
        self.write("d/7", b"changed since the backup")
        os.unlink(f"{self.source}/d/8")
        os.rename(f"{self.source}/d/9", f"{self.source}/d/renamed")
        self.settle()
        self.mirror.stop()
        shutil.rmtree(self.target)
        run("cp", "-a", backup, self.target)
        self.mirror.start()
        self.settle()
        self.assertLess(self.mirror.target()["acked_files"], 5)
        self.assertIn("behind its catalogue", self.mirror.log())


if __name__ == "__main__":
    main()
