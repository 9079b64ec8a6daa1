"""The service manager keeps the queue: whatever ends the daemon, nothing is lost and nothing is scanned again; and a queue
that is not certain to be whole is not believed."""

import os
import random
import shutil
import signal
import struct
import time
import unittest

from lib import churn
from lib.case import FILESYSTEM, main
from lib.host import run, until
from lib.mirror import fanmirror
from lib.service_case import ServiceCase

SEED = os.environ.get("FANMIRROR_SEED", "2026")
KILLS = int(os.environ.get("FANMIRROR_KILLS", "20"))
MANY = 2000  # files of which so many are deleted that a person is asked


class Believed(ServiceCase):
    def test_killed_at_random_instants_under_churn(self):
        chance = random.Random(f"{SEED}/instants")
        self.start_and_settle()
        pids = churn.start(self.source, f"{SEED}/kept", 2, 1500)
        for kill in range(KILLS):
            if not churn.running(pids):
                churn.finish(pids)
                pids = churn.start(self.source, f"{SEED}/kept/{kill}", 2, 1500)
            time.sleep(chance.random() * 0.3)  # the instant, not a wait for something
            self.mirror.kill()
            time.sleep(chance.random() * 0.1)
            self.mirror.start()
            self.assertEqual(self.counter("scans"), 0, self.mirror.log())
        churn.finish(pids)
        self.assert_scanned(0)
        self.assertEqual(self.counter("overflows"), 0)
        self.assertEqual(len(self.service.names()), 2, "one queue and its buffer, however often")

    def test_changes_made_while_it_is_dead(self):
        self.start_and_settle()
        self.mirror.kill()
        self.change_everything()
        self.mirror.start()
        self.assert_scanned(0)

    def test_changes_made_between_a_stop_and_a_start(self):
        self.start_and_settle()
        self.mirror.stop()
        self.assertIn("STOPPING=1", self.service.notified)
        self.change_everything()
        self.mirror.start()
        self.assert_scanned(0)
        self.mirror.restart()
        self.assert_scanned(0)

    def test_a_backlog_is_kept_too(self):
        self.start_and_settle()
        self.mirror.process.send_signal(signal.SIGSTOP)
        self.change_everything()
        self.mirror.kill()
        self.mirror.start()
        self.assert_scanned(0)

    def test_deletes_that_are_held_back_stay_so(self):
        self.mirror.jobs[0]["max_delete"] = "50%"
        self.mirror.write_config()
        for i in range(MANY):
            self.write(f"many{i % 5}/{i}")
        self.start_and_settle()
        for i in range(4):
            shutil.rmtree(f"{self.source}/many{i}")
        self.until_holding()
        self.mirror.kill()
        self.change_everything()
        self.mirror.start()
        self.until_holding()
        until(lambda: os.path.exists(f"{self.target}/fresh/below/file"), "all else flows")
        self.assertGreater(sum(len(files) for _, _, files in os.walk(self.target)), MANY // 2)
        self.assertEqual(fanmirror("approve", "job", "--socket", self.mirror.socket).returncode, 0)
        self.assert_scanned(0)

    def until_holding(self):
        until(lambda: self.mirror.target()["state"] == "holding",
              lambda: f"deletes are held back: {self.mirror.status_text()}\n{self.mirror.log()}")

    def test_descriptors_do_not_reach_receivers(self):
        self.start_and_settle()
        self.mirror.kill()
        self.mirror.start()
        self.settle()
        for pid in self.mirror.receivers():
            for fd in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                self.assertNotIn("fanotify", link)
                self.assertNotIn("fanmirror-events", link)


class NotBelieved(ServiceCase):
    """Each time a scan finds what the queue may not hold, and what is kept is replaced."""

    def restart_and_expect_a_scan(self, names_before):
        self.mirror.start()
        self.assert_scanned(1)
        until(lambda: len(self.service.names()) == 2 and self.service.names() != names_before,
              lambda: f"other descriptors than {names_before}: {self.service.names()}")
        self.mirror.kill()
        self.change_everything()
        self.mirror.start()
        self.assert_scanned(0)

    @unittest.skipIf(FILESYSTEM == "tmpfs", "a tmpfs is another one after it")
    def test_the_filesystem_was_unmounted(self):
        self.start_and_settle()
        names = self.service.names()
        self.mirror.kill()
        device = run("findmnt", "-no", "SOURCE", self.source_fs.path).stdout.strip()
        held = os.open(device, os.O_RDONLY)  # the loop device goes with its last user
        run("umount", self.source_fs.path)
        self.mount_elsewhere_and_change(device)
        run("mount", device, self.source_fs.path)
        os.close(held)
        self.restart_and_expect_a_scan(names)

    def mount_elsewhere_and_change(self, device):
        elsewhere = self.work.directory("elsewhere")
        run("mount", device, elsewhere)
        with open(f"{elsewhere}/tree/told to nobody", "wb") as file:
            file.write(b"x")
        run("umount", elsewhere)

    def test_another_version_wrote_the_buffer(self):
        self.start_and_settle()
        names = self.service.names()
        self.mirror.kill()
        os.pwrite(self.service.descriptor("buffer-"), struct.pack("<I", 77), 8)
        self.restart_and_expect_a_scan(names)

    def test_only_one_of_the_two_was_kept(self):
        self.start_and_settle()
        names = self.service.names()
        self.mirror.kill()
        self.service.take({"FDSTOREREMOVE": "1", "FDNAME": next(n for n in names if n.startswith("buffer-"))}, [])
        self.write("told to nobody")
        self.restart_and_expect_a_scan(names)

    def test_a_rule_changed(self):
        self.write("d0/a.tmp", b"excluded at first")
        self.mirror.jobs[0]["exclude"] = ["*.tmp"]
        self.mirror.write_config()
        self.start_and_settle_excluded()
        self.mirror.kill()
        del self.mirror.jobs[0]["exclude"]
        self.mirror.write_config()
        self.mirror.start()
        self.assert_scanned(1)
        self.mirror.restart()
        self.assert_scanned(0)

    def start_and_settle_excluded(self):
        self.mirror.start()
        self.mirror.wait()
        self.assertFalse(os.path.exists(f"{self.target}/d0/a.tmp"))

    def test_the_pending_set_is_gone(self):
        self.start_and_settle()
        self.mirror.kill()
        shutil.rmtree(f"{self.mirror.state_dir}/job/{self.mirror.jobs[0]['target'][0]['name']}/pending")
        self.write("noted in what is gone")
        self.mirror.start()
        self.assert_scanned(1)

    def test_nobody_keeps_it(self):
        self.mirror.service = None
        self.start_and_settle()
        self.mirror.restart()
        self.settle()
        self.assertEqual(self.counter("scans"), 1)


if __name__ == "__main__":
    main()
