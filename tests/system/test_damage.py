"""The source's filesystem finds itself damaged, or a handle cannot be opened: what is affected is looked at or, where that is
not known, all is scanned. Nothing is concluded from what cannot be read, and all else flows. ext4, which tells of damage."""

import array
import fcntl
import os
import re
import signal
import struct

from lib.case import main
from lib.host import run, until
from lib.service_case import DATA, ServiceCase

BLOCK = 4096
CHECKPOINT = 0x4004662B  # EXT4_IOC_CHECKPOINT
CHECKED = 44  # a byte of an inode, or of a block of a directory, that its checksum is of


class Damage(ServiceCase):
    def setUp(self):
        super().setUp()
        self.device = run("findmnt", "-no", "SOURCE", self.source_fs.path).stdout.strip()

    def ask(self, request, path):
        run("sync", "-f", path)
        return run("debugfs", "-R", f"{request} <{os.stat(path).st_ino}>", self.device).stdout

    def inode_of(self, path):
        """Where the inode lies on the device."""
        found = re.search(r"at block (\d+), offset 0x([0-9a-f]+)", self.ask("imap", path))
        return int(found[1]) * BLOCK + int(found[2], 16)

    def block_of(self, path):
        return int(self.ask("blocks", path).split()[0]) * BLOCK

    def flip(self, at):
        """Damages it, or heals it."""
        fd = os.open(self.device, os.O_RDWR)
        try:
            byte = os.pread(fd, 1, at + CHECKED)[0]
            os.pwrite(fd, bytes([byte ^ 0xFF]), at + CHECKED)
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget(self):
        """What is cached is read anew: nothing is left in the journal, which would keep it."""
        fd = os.open(self.source_fs.path, os.O_RDONLY)
        try:
            os.sync()
            fcntl.ioctl(fd, CHECKPOINT, array.array("I", [0]))
        finally:
            os.close(fd)
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")

    def damage(self, at, touch):
        """Until somebody has met it: touch() fails."""
        self.flip(at)
        until(lambda: self.forget() or self.fails(touch), "the damage is met")

    @staticmethod
    def fails(touch):
        try:
            touch()
        except OSError:
            return True
        return False

    def heal(self, *damages):
        for at in damages:
            self.flip(at)
        self.forget()
        self.settle()

    def failing(self):
        return {failure["path"] for failure in self.mirror.target()["failing"]}

    def until_failing(self, *paths):
        until(lambda: set(paths) <= self.failing(),
              lambda: f"{paths} fail; status: {self.mirror.status_text()}\nlog:\n{self.mirror.log()}")

    def assert_all_else_flows(self):
        self.write("d0/meanwhile", b"news")
        until(lambda: os.path.exists(f"{self.target}/d0/meanwhile"), lambda: self.mirror.status_text())

    def test_damage_that_is_nowhere_in_particular(self):
        self.start_and_settle()
        sent, pid = self.mirror.wire_bytes(), self.mirror.process.pid
        with open(f"/sys/fs/ext4/{os.path.basename(self.device)}/trigger_fs_error", "w") as file:
            file.write("damage")
        until(lambda: self.counter("scans") == 2, self.mirror.status_text)
        self.settle()
        self.assertEqual((self.counter("filesystem_errors"), self.counter("overflows")), (1, 0))
        self.assertEqual(self.mirror.status()["pid"], pid)
        self.assertLess(self.mirror.wire_bytes() - sent, DATA // 10)

    def test_a_directory_whose_entries_are_damaged(self):
        self.start_and_settle()
        entries = sorted(os.listdir(f"{self.source}/d1"))
        block = self.block_of(f"{self.source}/d1")
        self.damage(block, lambda: os.listdir(f"{self.source}/d1"))
        self.until_failing("d1")
        self.assertGreater(self.counter("filesystem_errors"), 0)
        self.assert_all_else_flows()
        self.assertEqual(sorted(os.listdir(f"{self.target}/d1")), entries)
        self.assertEqual(self.counter("scans"), 1, "it is known where the damage is")
        self.heal(block)
        self.assertEqual(self.mirror.target()["failing"], [])
        self.assertEqual(self.counter("scans"), 1)

    def test_a_handle_that_cannot_be_opened(self):
        self.start_and_settle()
        self.mirror.process.send_signal(signal.SIGSTOP)
        self.write("d2/new")
        os.unlink(f"{self.source}/d2/f2")
        inode = self.inode_of(f"{self.source}/d2")
        self.damage(inode, lambda: os.stat(f"{self.source}/d2"))
        self.mirror.process.send_signal(signal.SIGCONT)
        self.until_failing("d2/new", "d2/f2")
        self.assert_all_else_flows()
        self.assertTrue(os.path.exists(f"{self.target}/d2/f2"), "it is not known to be gone")
        self.assertTrue(os.path.exists(f"{self.target}/d2/f5"))
        self.heal(inode)
        self.assertEqual(self.counter("scans"), 1)

    def test_a_walk_whose_directory_cannot_be_opened_when_it_is_tried_again(self):
        self.start_and_settle()
        outside = os.path.join(self.source_fs.path, "outside")
        os.makedirs(f"{outside}/below")
        with open(f"{outside}/below/file", "wb") as file:
            file.write(b"data")
        new = f"{self.source}/new"
        top, below = self.inode_of(outside), self.inode_of(f"{outside}/below")
        handle = struct.pack("<I", os.stat(outside).st_ino).hex()
        self.damage(below, lambda: os.stat(f"{outside}/below"))
        os.rename(outside, new)
        until(lambda: self.mirror.target()["failing"] and os.path.exists(f"{self.target}/new"), self.mirror.status_text)
        self.damage(top, lambda: os.stat(new))
        until(lambda: self.mirror.target()["pending"] == 0 or
              any(f"'1:{handle}" in failure["error"] for failure in self.mirror.target()["failing"]),
              self.mirror.status_text)
        self.heal(top, below)
        self.assertTrue(os.path.exists(f"{self.target}/new/below/file"))
        self.assertEqual(self.counter("scans"), 1)


if __name__ == "__main__":
    main()
