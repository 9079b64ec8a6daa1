"""When verify refuses, when it is given up, and what a repair may not do."""

import array
import fcntl
import os
import shutil
import subprocess
import termios

from lib.case import main
from lib.host import until
from lib.mirror import PROGRAM, fanmirror
from test_source import SourceCase

MANY = 6000  # differences whose lines fill every buffer on the way to a client that does not read


class Limits(SourceCase):
    @staticmethod
    def job(name, source, target):
        return {**SourceCase.job(name, source, target), "max_delete": "50%"}

    def verify(self, *options):
        return fanmirror("verify", "job", "--socket", self.mirror.socket, *options)

    def assert_refused(self, *texts):
        result = self.verify("--content", "--repair")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)

    def test_a_target_that_is_away(self):
        self.start()
        self.mirror.stop()
        shutil.rmtree(os.path.join(self.target, ".fanmirror"))
        self.mirror.start()
        until(lambda: "use adopt" in self.mirror.target()["last_error"], "the refusal")
        self.assert_refused("job/near: the target is connecting, not live", "use adopt")

    def test_a_source_that_is_away(self):
        self.start()
        self.unmount()
        self.until_state("paused")
        self.assert_refused("job/near: the target is paused: ")

    def test_no_daemon(self):
        result = self.verify()
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(len(result.stderr.splitlines()), 1)

    def test_a_client_that_does_not_read_holds_nothing(self):
        for i in range(MANY):
            self.write(f"with_a_long_name_so_that_the_lines_are_long_{i}", b"")
        self.start()
        for name in os.listdir(self.target):
            if name != ".fanmirror":
                path = os.path.join(self.target, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        client = subprocess.Popen([PROGRAM, "verify", "job", "--socket", self.mirror.socket], stdout=subprocess.PIPE)
        try:
            held = array.array("i", [0])
            last = []

            def stuck():
                fcntl.ioctl(client.stdout, termios.FIONREAD, held)
                last.append(held[0])
                return len(last) > 20 and last[-1] > 0 and last[-1] == last[-20]
            until(stuck, "nothing more fits the pipe")
            self.assertIsNone(client.poll())
            self.unmount()
            self.until_state("paused")
        finally:
            client.kill()
            client.communicate()

    def test_a_repair_that_deletes_very_many_waits_for_a_person(self):
        for i in range(1100):
            self.write(f"f{i}", b"")
        self.start()
        theirs = os.path.join(self.target, "theirs")
        os.mkdir(theirs)
        for i in range(3000):
            with open(os.path.join(theirs, str(i)), "wb"):
                pass
        result = self.verify("--repair")
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("holding", result.stderr)
        self.until_state("holding")
        self.assertEqual(len(os.listdir(theirs)), 3000)
        self.assert_refused("the target is holding, not live", "fanmirror approve job")
        self.assertEqual(fanmirror("approve", "job", "--socket", self.mirror.socket).returncode, 0)
        self.settle()
        self.assertFalse(os.path.exists(theirs))
        self.assertEqual(self.verify("--content").returncode, 0)


if __name__ == "__main__":
    main()
