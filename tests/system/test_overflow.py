"""More happens than the kernel's queue keeps: a scan finds what was lost, and sends only that. A queue without a bound loses
nothing."""

import os
import signal

from lib import judge
from lib.case import FILESYSTEM, main
from lib.service_case import ServiceCase

with open("/proc/sys/fs/fanotify/max_queued_events") as file:
    KEPT = int(file.read())  # events, by a bounded queue
TOO_MANY = KEPT + 2000  # files
BALLAST = 8 << 20  # bytes that nobody changes: far more than all new names cost


class OverflowCase(ServiceCase):
    def make_many(self, count):
        """Each a change of its own, among them a rename that would cost much if it were not known for one."""
        for i in range(20):
            os.mkdir(f"{self.source}/many{i}")
        for i in range(count):
            os.close(os.open(f"{self.source}/many{i % 20}/{i}", os.O_CREAT | os.O_WRONLY))
        self.write("many7/last", b"not the only one")
        os.rename(f"{self.source}/d0", f"{self.source}/many0/d0")
        os.unlink(f"{self.source}/d1/f1")

    def make_many_unread(self, count):
        self.mirror.process.send_signal(signal.SIGSTOP)
        self.make_many(count)
        self.mirror.process.send_signal(signal.SIGCONT)


class Bounded(OverflowCase):
    daemon = {"bounded_queue": True}

    def start_with_ballast(self):
        self.write("ballast", os.urandom(BALLAST))
        self.start_and_settle()

    def assert_scanned_and_little_sent(self, scans_before, sent_before):
        self.settle()
        self.assertGreater(self.counter("overflows"), 0)
        self.assertGreater(self.counter("scans"), scans_before)
        self.assertLess(self.mirror.wire_bytes() - sent_before, BALLAST, "what is equal is not sent again")

    def test_while_it_does_not_read(self):
        self.start_with_ballast()
        sent, pid = self.mirror.wire_bytes(), self.mirror.process.pid
        self.make_many_unread(TOO_MANY)
        self.assert_scanned_and_little_sent(1, sent)
        self.assertEqual(self.mirror.status()["pid"], pid)

    def test_while_it_is_dead(self):
        self.start_with_ballast()
        self.mirror.kill()
        self.make_many(TOO_MANY)
        self.mirror.start()
        self.assert_scanned_and_little_sent(0, 0)
        self.mirror.restart()
        self.assert_scanned(0)

    def test_another_filesystem_is_not_scanned(self):
        other_fs = self.work.filesystem(FILESYSTEM, "other")
        self.addCleanup(other_fs.close)
        source, target = os.path.join(other_fs.path, "tree"), os.path.join(self.target_fs.path, "other")
        os.mkdir(source)
        self.mirror.jobs.append({"name": "other", "source": source, "max_delete": False,
                                 "target": [{"name": "near", "path": target}]})
        self.mirror.write_config()
        self.first_scans = 2
        self.start_with_ballast()
        sent = self.mirror.wire_bytes()
        self.make_many_unread(TOO_MANY)
        self.assert_scanned_and_little_sent(2, sent)
        with open(os.path.join(source, "new"), "w"):
            pass
        self.mirror.wait()
        judge.judge(source, target)
        self.assertEqual(self.mirror.target("other")["scans"], 1)


class Unbounded(OverflowCase):
    def test_more_than_a_bounded_one_keeps(self):
        self.start_and_settle()
        self.make_many_unread(TOO_MANY)
        self.settle()
        self.assertGreater(self.counter("events"), KEPT)
        self.assertEqual((self.counter("overflows"), self.counter("scans")), (0, 1))


if __name__ == "__main__":
    main()
