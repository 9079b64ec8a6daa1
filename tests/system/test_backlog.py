"""A week without the target: millions of events on few paths cost what the paths cost, not what the events would.

FANMIRROR_EVENTS chooses another number of events.
"""

import os
import re
import time

from lib import churn
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import until
from lib.mirror import Mirror
from lib.sshd import Sshd
from lib.storm import Storm

EVENTS = int(os.environ.get("FANMIRROR_EVENTS", "3000000"))
DIRECTORIES, NAMES = 20, 1000  # 20,000 paths
MOST = DIRECTORIES * NAMES + DIRECTORIES + 1  # entries: each path, each directory, and the root
PROCESSES = 2
GROWTH = 32e6  # bytes of resident memory that the backlog may cost
LONGEST = 400  # seconds for the events, on a loaded machine


def resident(pid):
    """Bytes, without the pages of files that are mapped: the kernel may take those back."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


class Backlog(WorkplaceCase):
    def setUp(self):
        self.source = os.path.join(self.work.filesystem(FILESYSTEM, "source").path, "tree")
        self.target = os.path.join(self.work.filesystem(FILESYSTEM, "target").path, "copy")
        os.mkdir(self.source)
        self.sshd = Sshd(self.work.directory("sshd"))
        self.addCleanup(self.sshd.close)
        self.mirror = Mirror(self.work.directory("daemon"),
                             [{"name": "job", "source": self.source, "target": [self.sshd.target(self.target)]}])
        self.addCleanup(self.mirror.close)
        self.storm = Storm(self.source, DIRECTORIES, NAMES)
        self.storm.populate()

    def start_afresh(self):
        """A daemon that has not grown by an initial sync, and has lost its target."""
        self.mirror.start()
        self.mirror.wait()
        self.mirror.restart()
        self.mirror.wait()
        self.sshd.kill()
        until(lambda: self.mirror.target()["state"] == "connecting", "the loss to be noticed")

    def test_three_million_events_while_the_target_is_away(self):
        self.start_afresh()
        pid = self.mirror.process.pid
        before, most, pending, events, began = resident(pid), 0, 0, 0, time.monotonic()
        pids = [churn.endless(lambda share=share: self.storm.rage(share, PROCESSES), 0)
                for share in range(PROCESSES)]
        try:
            while events < EVENTS and time.monotonic() < began + LONGEST:
                time.sleep(0.2)
                status = self.mirror.status()
                events = status["counters"]["events"]
                pending = max(pending, status["jobs"][0]["targets"][0]["pending"])
                most = max(most, resident(pid))
        finally:
            churn.end(pids)
        print(f"{events} events in {time.monotonic() - began:.1f} s; pending {pending}; resident {before / 1e6:.1f} MB, "
              f"at most {most / 1e6:.1f} MB", flush=True)
        self.assertGreaterEqual(events, EVENTS)
        self.assertEqual(status["counters"]["overflows"], 0)
        self.assertGreater(pending, DIRECTORIES * NAMES // 2)
        self.assertLess(pending, 10 * MOST)  # with what has come and gone since it was condensed last
        self.assertLess(most - before, GROWTH)
        until(lambda: self.mirror.target()["pending"] <= MOST, lambda: f"at most {MOST} of {self.mirror.target()}")
        condensed = time.monotonic()
        print(f"condensed after {condensed - began:.1f} s", flush=True)
        self.sshd.start()
        self.settled(self.mirror, self.source, self.target)
        print(f"equal {time.monotonic() - condensed:.1f} s after the return", flush=True)


if __name__ == "__main__":
    main()
