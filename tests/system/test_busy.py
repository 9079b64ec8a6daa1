"""Files that are open for long, or that change faster than they can be sent."""

import mmap
import os
import threading
import time

from lib.case import MirrorCase, main
from lib.host import until

VISIBLE = 20  # seconds that a loaded machine may take on top


class Busy(MirrorCase):
    def read_copy(self, name):
        try:
            with open(os.path.join(self.copy, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def test_log_that_is_never_closed(self):
        with open(self.path("log"), "ab", buffering=0) as log:
            for i in range(10):
                line = b"line %d\n" % i
                log.write(line)
                until(lambda: (self.read_copy("log") or b"").endswith(line), f"{line} on the target", VISIBLE)
            # Not by waiting for a pause: it arrives while it goes on being appended.
            stop = threading.Event()
            writer = threading.Thread(target=self.append_until, args=(log, stop))
            writer.start()
            try:
                size = len(self.read_copy("log"))
                until(lambda: len(self.read_copy("log")) > size, "growth while it is appended", VISIBLE)
            finally:
                stop.set()
                writer.join()
            self.settle()

    @staticmethod
    def append_until(log, stop):
        while not stop.wait(0.002):
            log.write(b"and on and on and on\n")

    def test_file_rewritten_faster_than_it_can_be_sent(self):
        size = 20 << 20
        end = time.monotonic() + 3
        versions = 0
        before = self.mirror.target()["acked_files"]
        while time.monotonic() < end or versions < 5:
            with open(self.path("hot"), "wb") as file:
                file.write(bytes([versions % 256]) * size)
            versions += 1
        self.settle()
        self.assertGreater(self.mirror.target()["acked_files"], before)
        self.assertEqual(self.read_copy("hot"), bytes([(versions - 1) % 256]) * size)

    def test_target_never_shows_a_mixture(self):
        """Versions are replaced by rename, each of one repeated byte; so is every state of the target."""
        size, stop, mixed = 1 << 20, threading.Event(), []

        def look():
            while not stop.is_set():
                data = self.read_copy("whole")
                if data is not None and (len(data) != size or data.count(data[:1]) != size):
                    mixed.append((len(data), sorted(set(data))))

        looker = threading.Thread(target=look)
        looker.start()
        try:
            for i in range(60):
                self.write("new", bytes([i]) * size)
                os.rename(self.path("new"), self.path("whole"))
        finally:
            self.mirror.wait()
            stop.set()
            looker.join()
        self.assertEqual(mixed, [])
        self.settle()

    def test_overwritten_in_place_while_it_is_sent(self):
        path = self.write("database", os.urandom(16 << 20))
        end = time.monotonic() + 3
        with open(path, "r+b", buffering=0) as file:
            position = 0
            while time.monotonic() < end:
                file.seek(position % (16 << 20))
                file.write(os.urandom(4096))
                position += 777 * 4096
        self.settle()

    def test_mapped_writer_that_closes(self):
        path = self.write("mapped", bytes(4 << 20))
        self.mirror.wait()
        file = open(path, "r+b")
        memory = mmap.mmap(file.fileno(), 0)
        for i in range(0, len(memory), 4096):
            memory[i:i + 8] = b"%08d" % i
        memory.close()
        file.close()
        self.settle()

    def test_many_small_files_made_and_removed_quickly(self):
        for i in range(3000):
            self.write("spool/job", b"%d" % i)
            if i % 10:
                os.unlink(self.path("spool/job"))
            else:
                os.rename(self.path("spool/job"), self.path(f"spool/kept{i}"))
        self.settle()

    def test_temporary_file_without_a_name_is_linked(self):
        fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR, 0o640)
        links = os.open("/proc/self/fd", os.O_PATH)  # only with a directory does Python follow the link
        self.addCleanup(os.close, links)
        try:
            os.write(fd, b"first")
            os.link(str(fd), self.path("linked"), src_dir_fd=links, follow_symlinks=True)
            self.settle()
            os.write(fd, b", and later")
            self.settle()
        finally:
            os.close(fd)

    def test_deleted_while_open(self):
        path = self.write("gone", b"x" * 100_000)
        with open(path, "ab", buffering=0) as file:
            self.mirror.wait()
            os.unlink(path)
            file.write(b"to nobody")
            self.settle()


if __name__ == "__main__":
    main()
