"""An audit finds what no event tells, on the source and, where that is asked for, on the target."""

import mmap
import os

from lib.case import MirrorCase, main
from lib.host import until


class AuditCase(MirrorCase):
    def same(self, name):
        def read(root):
            with open(os.path.join(root, name), "rb") as file:
                return file.read()
        return read(self.dir) == read(self.copy)

    def found(self):
        return self.mirror.target()["audit_found"]


class Source(AuditCase):
    job = {"audit": "1s"}

    def test_stores_through_a_mapping_that_stays(self):
        self.write("mapped", b"." * 3 * mmap.PAGESIZE)
        self.settle()
        with open(self.path("mapped"), "r+b") as file:
            fd = os.dup(file.fileno())
        mapping = mmap.mmap(fd, 0)  # neither unmapped nor closed until the end of the test: no event comes
        try:
            # What was read at the moment of the change is looked at again by itself; this comes later.
            until(lambda: self.mirror.target()["pending"] == 0, "all is quiet")
            before = self.found()
            mapping[mmap.PAGESIZE:mmap.PAGESIZE + 6] = b"stored"
            mapping.flush()
            until(lambda: self.same("mapped"), lambda: f"the store arrives; {self.mirror.status_text()}")
            self.assertGreater(self.found(), before)
            self.assertGreater(self.mirror.target()["audited_unix_seconds"], 0)
        finally:
            mapping.close()
            os.close(fd)

    def test_audits_go_on_and_find_nothing(self):
        self.write("file")
        self.settle()
        before = self.mirror.target()
        until(lambda: self.mirror.target()["audits"] >= before["audits"] + 3, "audits begin again and again")
        now = self.mirror.target()
        self.assertEqual(now["audit_found"], before["audit_found"])
        self.assertEqual(now["acked_files"], before["acked_files"])
        self.assertGreater(now["audited_unix_seconds"], before["audited_unix_seconds"])


class Target(AuditCase):
    job = {"audit": "1s", "audit_content": True}

    def test_rotten_content_is_repaired(self):
        self.write("file", os.urandom(300_000))
        self.settle()
        copy = os.path.join(self.copy, "file")
        before = os.stat(copy)
        fd = os.open(copy, os.O_WRONLY)
        os.pwrite(fd, b"rotten", 200_000)
        os.close(fd)
        os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
        until(lambda: self.same("file"), lambda: f"it is repaired; {self.mirror.status_text()}\n{self.mirror.log()}")
        until(lambda: self.found() >= 1, "it is counted")
        self.assertIn("content; repaired", self.mirror.log())
        self.settle()


if __name__ == "__main__":
    main()
