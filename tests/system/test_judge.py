"""The judge finds every kind of difference: a comparison that cannot fail shows nothing."""

import os
import shutil
import stat

from lib import churn, judge, ledger, population, versions
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import run


def remake(path, make):
    os.unlink(path)
    make(path)


def copy_apart(path):
    """The name keeps its content and metadata, and leaves its group of links."""
    shutil.copy2(path, path + ".apart")
    os.replace(path + ".apart", path)


def change_byte(path):
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)
        file.seek(status.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def fill_hole(path):
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.write(bytes(4096))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def later(path):
    status = os.lstat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1), follow_symlinks=False)


# (what differs, what makes it differ in the copy)
DIFFERENCES = [
    ("a missing file", lambda d: os.unlink(f"{d}/one")),
    ("a file too many", lambda d: population.put(f"{d}/more")),
    ("a missing empty directory", lambda d: os.rmdir(f"{d}/a/empty")),
    ("one bit of content", lambda d: change_byte(f"{d}/megabytes")),
    ("the end of a file", lambda d: os.truncate(f"{d}/blocks", 12288)),
    ("a hole that is filled", lambda d: fill_hole(f"{d}/all hole")),
    ("a nanosecond of a file", lambda d: later(f"{d}/one")),
    ("a nanosecond of a directory", lambda d: later(f"{d}/a/b/c")),
    ("a nanosecond of a symlink", lambda d: later(f"{d}/link")),
    ("a nanosecond of the root", later),
    ("the mode", lambda d: os.chmod(f"{d}/mode 4755", 0o755)),
    ("the owner of a symlink", lambda d: os.chown(f"{d}/owned link", 13, 34, follow_symlinks=False)),
    ("the group of a directory", lambda d: os.chown(f"{d}/owned.d", 1000, 2001)),
    ("the target of a symlink", lambda d: remake(f"{d}/dangling", lambda p: os.symlink("nowhere/at al1", p))),
    ("a type", lambda d: remake(f"{d}/fifo", lambda p: os.symlink("x", p))),
    ("a device's number", lambda d: remake(f"{d}/null", lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(1, 5)))),
    ("an xattr's value", lambda d: os.setxattr(f"{d}/attributes", "user.a", b"2")),
    ("an xattr too many", lambda d: os.setxattr(f"{d}/attributes.d", "user.more", b"")),
    ("a missing capability", lambda d: os.removexattr(f"{d}/attributes", "security.capability")),
    ("an xattr of a symlink", lambda d: os.removexattr(f"{d}/attributes link", "trusted.link", follow_symlinks=False)),
    ("an ACL", lambda d: run("setfacl", "-m", "u:1000:r", f"{d}/acl")),
    ("a default ACL", lambda d: run("setfacl", "-k", f"{d}/acl.d")),
    ("a link that is a copy", lambda d: copy_apart(f"{d}/links/l3")),
    ("a copy that is a link", lambda d: remake(f"{d}/block", lambda p: os.link(f"{d}/one", p))),
    ("bytes of a name", lambda d: os.rename(os.fsencode(d) + b"/names/\xff\xfe invalid UTF-8",
                                            os.fsencode(d) + b"/names/\xff\xfd invalid UTF-8")),
]


class Judge(WorkplaceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        fs = cls.work.filesystem(FILESYSTEM, "fs")
        cls.source, cls.copy = (os.path.join(fs.path, name) for name in ("source", "copy"))
        os.mkdir(cls.source)
        population.make_everything(cls.source)

    def setUp(self):
        shutil.rmtree(self.copy, ignore_errors=True)
        run("rsync", "-aHAXS", self.source + "/", self.copy + "/")

    def test_equal_trees_are_equal(self):
        judge.judge(self.source, self.copy)

    def test_each_difference_is_found(self):
        for what, change in DIFFERENCES:
            with self.subTest(what):
                self.setUp()
                before = set(judge.differences(self.source, self.copy, holes=True))
                change(self.copy)
                self.assertTrue(set(judge.differences(self.source, self.copy, holes=True)) - before)

    def test_paths_beyond_path_max(self):
        os.close(population.make_deep(self.copy))
        self.assertGreater(max(len(line) for line in judge.differences(self.source, self.copy)), 4096)

    def test_own_directory_counts_in_the_root_only(self):
        os.mkdir(os.path.join(self.copy, ".fanmirror"))
        shutil.copystat(self.source, self.copy)
        judge.judge(self.source, self.copy)
        os.mkdir(os.path.join(self.copy, "a", ".fanmirror"))
        self.assertTrue(judge.differences(self.source, self.copy))

    def test_churn_makes_all_types_and_links(self):
        types, links = set(), 0
        for seed in ("one", "two", "three", "four", "five", "six"):  # a run may end with little left
            root = os.path.join(os.path.dirname(self.source), "churn-" + seed)
            os.mkdir(root)
            churn.finish(churn.start(root, seed, 2, 2000))
            tree = judge.Tree(root, holes=False)
            types |= {node["type"] for node in tree.nodes.values()}
            links += len(tree.links)
        self.assertEqual(types, {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK})
        self.assertGreater(links, 0)

    def test_ledger_notices_each_loss(self):
        root = os.path.join(os.path.dirname(self.source), "ledger")
        book = ledger.Ledger(root, lambda: None, "judge")
        for _ in range(5):
            book.step()
        confirmed = book.confirmed()
        self.assertEqual(ledger.violations(root, confirmed), [])
        groups = [name for name, state in confirmed.items() if state != ledger.ABSENT]
        for number, damage in enumerate((lambda g: change_byte(f"{g}/f4"), lambda g: os.unlink(f"{g}/f4"),
                                         lambda g: os.chmod(f"{g}/f3", 0o641), lambda g: later(f"{g}/d"), shutil.rmtree,
                                         lambda g: copy_apart(f"{g}/d/linked"))):
            damage(os.path.join(root, groups[number]))
            self.assertEqual({line.split(":")[0] for line in ledger.violations(root, confirmed)},
                             set(groups[:number + 1]))

    def test_mixed_versions_are_recognised(self):
        root = os.path.join(os.path.dirname(self.source), "versions")
        os.mkdir(root)
        whole = versions.content(7, 3, 100)
        for mixed in (whole[:-1], whole[:2000] + versions.content(7, 4, 100)[2000:], versions.content(8, 3, 100), b""):
            population.put(f"{root}/v7", whole)
            self.assertEqual(versions.mixtures(root), [])
            population.put(f"{root}/v7", mixed)
            self.assertEqual(len(versions.mixtures(root)), 1)


if __name__ == "__main__":
    main()
