"""The unit in contrib/ allows all that the daemon and its receivers need, and the queue is kept under it."""

import os
import re
import shutil
import sys

from lib.case import main
from lib.host import until
from lib.service_case import ServiceCase

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = os.path.join(HERE, "..", "..", "contrib", "fanmirror.service")


class Unit(ServiceCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("systemd-analyze"):
            self.skipTest("needs systemd-analyze")
        self.service.prefix = [sys.executable, "-B", os.path.join(HERE, "lib", "as_unit.py"), UNIT]

    def test_nothing_is_missing(self):
        self.start_and_settle()
        until(lambda: {"READY=1"} <= self.service.notified, "readiness")
        self.change_everything()
        self.settle()
        self.mirror.kill()
        self.change_more()
        self.mirror.start()
        self.assert_scanned(0)
        self.mirror.restart()
        self.assert_scanned(0)
        complaints = [line for line in self.mirror.log().splitlines() if not re.search(r" info: (?!.*receiver: )", line)]
        self.assertEqual(complaints, [], "and what it does without is not said anywhere")

    def change_more(self):
        os.mknod(f"{self.source}/fifo", 0o010600)
        os.chown(self.write("d1/owned"), 1234, 4321)
        os.setxattr(self.write("d1/described"), "trusted.about", b"it")
        os.symlink("d1", f"{self.source}/link")


if __name__ == "__main__":
    main()
