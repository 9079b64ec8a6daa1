"""What a target cannot take is told by name and tried again, and holds up nothing else; so does a full state directory."""

import errno
import os
import sys

from lib.case import WorkplaceCase, main
from lib.host import run, until
from lib.mirror import Mirror, fanmirror

LONG = "x" * 3000  # as the target of a symlink: ext4 takes it, XFS takes 1,024 bytes


class RefusedCase(WorkplaceCase):
    kind = "ext4"  # of the target

    def setUp(self):
        name = f"t{len(self.work.filesystems)}"  # short: a socket's path must be
        self.source = os.path.join(self.work.filesystem("ext4", name + "-source").path, "tree")
        os.mkdir(self.source)
        self.target_fs = self.work.filesystem(self.kind, name + "-target")
        self.target = os.path.join(self.target_fs.path, "copy")
        self.mirror = Mirror(self.work.directory(name + "-daemon"),
                             [{"name": "job", "source": self.source, "target": [{"name": "near", "path": self.target}]}])
        self.addCleanup(self.mirror.close)

    def copied(self, name):
        return os.path.lexists(os.path.join(self.target, name))

    def story(self):
        return f"status: {self.mirror.status_text()}\nlog:\n{self.mirror.log()}"

    def settle(self):
        self.settled(self.mirror, self.source, self.target)

    def until_failing(self, path, text):
        """That file alone fails, and `status` says why."""
        def failing():
            target = self.mirror.target()
            return target["failing_count"] == 1 and [one["path"] for one in target["failing"]] == [path] and \
                text in target["failing"][0]["error"]
        until(failing, lambda: f"{path} is told of; {self.story()}")
        self.assertEqual(fanmirror("wait", "--socket", self.mirror.socket, "--timeout", "1s").returncode, 1)

    def assert_others_flow(self):
        for i in range(50):
            self.write(f"other{i}")
        until(lambda: all(self.copied(f"other{i}") for i in range(50)), lambda: f"the others arrive; {self.story()}")


class TooLong(RefusedCase):
    kind = "xfs"

    def test_a_symlink_that_is_too_long_for_the_target(self):
        self.mirror.start()
        os.symlink(LONG, os.path.join(self.source, "long"))
        self.until_failing("long", "shorter names")
        self.assert_others_flow()
        self.assertFalse(self.copied("long"))
        # It has no worse fate after a restart, and the cure works at once.
        self.mirror.restart()
        self.until_failing("long", "shorter names")
        os.unlink(os.path.join(self.source, "long"))
        os.symlink("short", os.path.join(self.source, "long"))
        self.settle()
        self.assertEqual(self.mirror.target()["failing_count"], 0)


class ShortNames:
    """Starts a daemon whose targets take no directory's name, as one with shorter names takes no long one: no filesystem that
    every kernel has has shorter names. Directories come to their place by renameat2 with RENAME_NOREPLACE."""

    REFUSE = """
import ctypes, errno, os, sys
class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
allow, refuse, equal, noreplace = 0x7fff0000, 0x00050000 | errno.ENAMETOOLONG, 4, 1
filter = ctypes.c_void_p(lib.seccomp_init(allow))
call = lib.seccomp_syscall_resolve_name(b"renameat2")
assert lib.seccomp_rule_add_array(filter, refuse, call, 1, ctypes.byref(Compare(4, equal, noreplace, 0))) == 0
assert lib.seccomp_load(filter) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""

    def launch(self, argv):
        environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
        return {"args": [sys.executable, "-c", self.REFUSE, *argv], "env": environment}


class TooLongName(RefusedCase):
    def test_a_directory_whose_name_is_too_long_for_the_target(self):
        self.mirror.service = ShortNames()
        self.mirror.start()
        self.write("before")
        self.settle()
        self.write("long/file")

        def failing():
            return [one["error"] for one in self.mirror.target()["failing"] if one["path"] == "long"]
        until(lambda: any("shorter names" in error for error in failing()), lambda: f"it is told of; {self.story()}")
        self.assert_others_flow()
        self.assertFalse(self.copied("long"))
        self.assertEqual({one["path"] for one in self.mirror.target()["failing"]} - {"long", "long/file"}, set())
        self.mirror.service = None
        self.mirror.restart()
        self.settle()
        self.assertEqual(self.mirror.target()["failing_count"], 0)


class OverQuota(RefusedCase):
    kind = "btrfs"  # its quota binds root, too

    def limit(self, size):
        run("btrfs", "qgroup", "limit", size, self.target_fs.path)

    def test_a_file_beyond_the_quota(self):
        run("btrfs", "quota", "enable", self.target_fs.path)
        self.limit("40M")
        self.mirror.start()
        self.write("large", b"as it was")
        self.settle()
        outside = self.write("../large", os.urandom(64 << 20))
        os.rename(outside, os.path.join(self.source, "large"))  # at once: a part of it would fit
        self.until_failing("large", os.strerror(errno.EDQUOT) + "; free space on the target, or raise the quota")
        self.assert_others_flow()
        with open(os.path.join(self.target, "large"), "rb") as file:
            self.assertEqual(file.read(), b"as it was")
        # It goes on by itself, also after a restart.
        self.mirror.restart()
        self.until_failing("large", "raise the quota")
        self.limit("400M")
        self.settle()
        self.assertEqual(self.mirror.target()["failing_count"], 0)


class FullState(RefusedCase):
    def test_a_full_state_directory(self):
        os.makedirs(self.mirror.state_dir, mode=0o700, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "size=80m,mode=700", "tmpfs", self.mirror.state_dir)
        self.addCleanup(run, "umount", "-l", self.mirror.state_dir)
        self.mirror.start()
        self.write("before")
        self.settle()
        filler = os.path.join(self.mirror.state_dir, "filler")
        with open(filler, "wb") as file, self.assertRaises(OSError):
            while True:
                file.write(bytes(65536))
                file.flush()
        for i in range(20_000):
            self.write(f"file_with_a_name_that_takes_its_room_{i}", b"")
        until(lambda: "make room" in self.mirror.target()["last_error"], lambda: f"it says that there is no room; {self.story()}")
        self.assertIsNone(self.mirror.process.poll())
        os.unlink(filler)
        self.settle()
        self.assertEqual(self.mirror.target()["last_error"], "")


if __name__ == "__main__":
    main()
