"""Every type of node with all its metadata: in the initial sync, and made, changed and removed while it runs."""

import mmap
import os
import shutil
import stat

from lib import population
from lib.case import MirrorCase, main
from lib.host import run
from lib.population import EPOCH_2001, put


class InitialSync(MirrorCase):
    """All is there before the daemon starts."""

    @classmethod
    def prepare(cls):
        cls.full = os.path.join(cls.source, "full")
        os.mkdir(cls.full)
        population.make_everything(cls.full)
        os.makedirs(os.path.join(cls.source, "many"))
        for i in range(2000):
            put(os.path.join(cls.source, "many", f"{i}"), b"%d" % i)
        os.chmod(cls.source, 0o2751)
        os.chown(cls.source, 5, 6)
        os.setxattr(cls.source, "user.root", b"root")

    def test_everything_arrives(self):
        self.settle(holes=True)

    def test_hard_links_are_links_on_the_target(self):
        self.mirror.wait()
        names = [os.path.join(self.target, "full", name) for name in ("l1", "l2", "links/l3", "links/l4")]
        self.assertEqual(len({os.stat(name).st_ino for name in names}), 1)
        self.assertEqual(os.stat(names[0]).st_nlink, 4)

    def test_nothing_pends_after_it(self):
        self.mirror.wait()
        target = self.mirror.target()
        self.assertEqual((target["state"], target["pending"], target["last_error"]), ("live", 0, ""))


class Live(MirrorCase):
    def test_everything_made(self):
        population.make_everything(self.dir)
        self.settle(holes=True)

    def test_everything_removed(self):
        population.make_everything(self.dir)
        self.mirror.wait()
        shutil.rmtree(self.dir)
        self.settle()
        self.assertFalse(os.path.lexists(self.copy))

    def test_every_metadata_changed(self):
        population.make_everything(self.dir)
        self.mirror.wait()
        for directory, directories, names in os.walk(os.fsencode(self.dir)):
            for i, name in enumerate(sorted(directories + names)):
                path = os.path.join(directory, name)
                os.chown(path, 3 + i, 4 + i, follow_symlinks=False)
                os.setxattr(path, "trusted.changed", b"%d" % i, follow_symlinks=False)
                if not os.path.islink(path):
                    os.chmod(path, 0o4700 if os.path.isdir(path) else 0o2710)
                os.utime(path, ns=(1, EPOCH_2001 + i), follow_symlinks=False)
        self.settle(holes=True)

    def test_only_the_mtime_of_each_type(self):
        population.make_symlinks(self.dir)
        population.make_directories(self.dir)
        put(self.path("one"), b"1")
        self.mirror.wait()
        for i, name in enumerate(("link", "dangling", "a", "a/b/c/d", "one")):
            population.at(self.path(name), EPOCH_2001 + 10 + i)
            self.settle()

    def test_mtime_of_a_directory_survives_work_inside(self):
        os.mkdir(self.path("d"))
        self.mirror.wait()
        for name in ("x", "y", "z"):
            put(self.path("d", name), b"1")
        os.rename(self.path("d", "x"), self.path("d", "w"))
        os.unlink(self.path("d", "y"))
        population.at(self.path("d"), EPOCH_2001)
        self.settle()
        self.assertEqual(os.stat(os.path.join(self.copy, "d")).st_mtime_ns, EPOCH_2001)

    def test_content_changed_with_size_and_mtime_kept(self):
        path = put(self.path("file"), b"before")
        population.at(path, EPOCH_2001)
        self.mirror.wait()
        put(path, b"after!")
        population.at(path, EPOCH_2001)
        self.settle()

    def test_truncated_extended_and_punched(self):
        path = put(self.path("file"), os.urandom(1 << 20))
        self.mirror.wait()
        for size in (4097, 0, 3 << 20):
            os.truncate(path, size)
            self.settle(holes=True)
        with open(path, "r+b") as file:
            file.seek(2 << 20)
            file.write(os.urandom(1 << 19))
        self.settle(holes=True)
        run("fallocate", "--punch-hole", "--offset", str((2 << 20) + 65536), "--length", "65536", path)
        self.settle(holes=True)

    def test_large_file_above_four_gib(self):
        path = population.sparse(self.path("large"), (5 << 30) + 3,
                                 [(0, b"a" * 8192), (4 << 30, b"b" * 8192), ((5 << 30) - 1, b"end!")])
        self.settle(holes=True)
        with open(path, "r+b") as file:
            file.seek((4 << 30) + 100)
            file.write(b"changed")
        self.settle(holes=True, rsync_exclude=["large"])

    def test_paths_beyond_path_max(self):
        os.close(population.make_deep(self.dir))
        deep = [os.path.basename(self.dir)]  # rsync's own limit is PATH_MAX
        self.settle(rsync_exclude=deep)
        os.close(population.make_deep(self.dir, name=b"e" * 255))
        self.settle(rsync_exclude=deep)
        os.rename(self.path("d" * 200), self.path("f"))
        self.settle(rsync_exclude=deep)
        shutil.rmtree(self.dir)
        self.settle()

    def test_xattrs_removed_and_replaced(self):
        population.make_xattrs(self.dir)
        self.mirror.wait()
        path = self.path("attributes")
        os.removexattr(path, "user.a")
        os.removexattr(path, "security.capability")
        os.setxattr(path, "user.large", b"small now")
        os.removexattr(self.path("attributes link"), "trusted.link", follow_symlinks=False)
        run("setfacl", "-x", "u:1000", self.path("acl"))
        run("setfacl", "-k", self.path("acl.d"))
        self.settle()
        run("setfacl", "-b", self.path("acl"), self.path("acl.d"))
        self.settle()

    def test_write_keeps_what_chown_would_clear(self):
        path = put(self.path("program"), b"v1")
        os.chown(path, 10, 20)
        os.chmod(path, 0o6755)
        os.setxattr(path, "security.capability", population.CAP_NET_RAW)
        self.settle()
        os.chown(path, 11, 21)  # the kernel clears setuid and the capability here
        self.settle()

    def test_type_changes(self):
        kinds = [lambda p: put(p, b"file"), os.mkdir, lambda p: os.symlink("to", p), os.mkfifo,
                 lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 5))]
        path = self.path("node")
        for first in range(len(kinds)):
            for second in range(len(kinds)):
                if first == second:
                    continue
                for make in (kinds[first], kinds[second]):
                    if os.path.lexists(path):
                        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
                    make(path)
                    if make is kinds[first]:
                        self.mirror.wait()
                self.mirror.wait()
                self.assertEqual(stat.S_IFMT(os.lstat(path).st_mode),
                                 stat.S_IFMT(os.lstat(os.path.join(self.copy, "node")).st_mode), (first, second))
        self.settle()

    def test_full_directory_becomes_a_file_and_back(self):
        self.write("node/a/b", b"1")
        self.settle()
        shutil.rmtree(self.path("node"))
        self.write("node", b"a file")
        self.settle()
        os.unlink(self.path("node"))
        self.write("node/c/d", b"2")
        self.settle()

    def test_root_of_the_source(self):
        os.chmod(self.source, 0o700)
        os.chown(self.source, 8, 9)
        os.setxattr(self.source, "user.live", b"1")
        population.at(self.source, EPOCH_2001)
        self.settle()

    def test_name_of_our_own_in_the_source_is_not_replicated(self):
        own = os.path.join(self.source, ".fanmirror")
        os.mkdir(own)
        self.addCleanup(shutil.rmtree, own, ignore_errors=True)
        put(os.path.join(own, "marker"), b"not ours")
        self.write(".fanmirror", b"deeper it is a name like any other")
        self.mirror.wait()
        with open(os.path.join(self.target, ".fanmirror", "marker"), "rb") as file:
            self.assertNotEqual(file.read(), b"not ours")
        self.assertTrue(os.path.exists(os.path.join(self.copy, ".fanmirror")))
        shutil.rmtree(own)
        population.at(self.source, EPOCH_2001 + 1)  # a change of the root that counts
        self.settle()

    def test_mapped_file(self):
        path = put(self.path("mapped"), bytes(1 << 16))
        self.mirror.wait()
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[5000:5005] = b"store"
        self.settle()


if __name__ == "__main__":
    main()
