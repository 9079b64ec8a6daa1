"""verify finds what differs, whoever made it differ, and nothing else; --repair corrects it and only that."""

import os
import shutil
import unittest

from lib import churn, population
from lib.case import FILESYSTEM, MirrorCase, main
from lib.mirror import fanmirror


def keep_mtime(path, change):
    """What is changed behind everybody's back does not show in the times."""
    before = os.lstat(path)
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


def overwrite(path, offset, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


class Verify(MirrorCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.clear)

    def clear(self):
        """What others put there goes first: a directory that holds it is not removed, and stays pending."""
        fanmirror("verify", "job", "--repair", "--socket", self.mirror.socket)
        shutil.rmtree(self.dir)
        self.mirror.wait()

    def verify(self, *options):
        """Exit code, the lines of differences below this test's directory (path: what), and the summary."""
        result = fanmirror("verify", "job", "--target", self.target_name(), "--socket", self.mirror.socket, *options)
        self.assertEqual(result.stderr, "", self.mirror.log())
        lines = result.stdout.splitlines()
        below = {}
        for line in lines[:-1]:
            path, _, what = line.partition("': ")
            self.assertTrue(path.startswith("'"), line)
            below[self.first_of_the_pair(path[1:], what)] = what
        self.assertIn(" names compared", lines[-1])
        return result.returncode, below, lines[-1]

    @staticmethod
    def first_of_the_pair(path, what):
        """Names that are linked on one side only are told of by the one that is met last, in the order of the directory."""
        _, linked, rest = what.partition("hard link of '")
        return min(path, rest.partition("'")[0]) if linked else path

    def target_name(self):
        return self.mirror.target()["name"]

    def below(self, *names):
        """As a line of verify names it."""
        return os.path.join(os.path.basename(self.dir), *names)

    def assert_equal(self, *options):
        code, differences, summary = self.verify(*options)
        self.assertEqual(differences, {})
        self.assertEqual(code, 0)
        self.assertIn(" 0 differences", summary)
        return summary

    def assert_finds(self, wanted, *options):
        """`wanted`: path -> part of what is said of it; nothing else is found."""
        code, differences, _ = self.verify(*options)
        self.assertEqual(set(differences), set(wanted), differences)
        for path, what in wanted.items():
            self.assertIn(what, differences[path])
        self.assertEqual(code, 1)

    def assert_repairs(self, wanted, *options):
        code, differences, summary = self.verify("--repair", *options)
        self.assertEqual(set(differences), set(wanted), differences)
        for path, what in wanted.items():
            self.assertIn(what, differences[path])
            self.assertTrue(differences[path].endswith("; repaired"), differences[path])
        self.assertEqual(code, 0)
        self.assertIn(f"{len(wanted)} repaired", summary)
        self.compare()
        self.assert_equal("--content")

    def test_equal_trees_with_everything_in_them(self):
        population.make_everything(self.dir)
        self.settle()
        self.assert_equal()
        summary = self.assert_equal("--content")
        self.assertNotIn(" 0 files hashed", summary)

    def test_allocated_zeros_are_no_difference(self):
        with open(self.path("sparse"), "wb") as file:
            file.truncate(3_000_000)
            file.seek(1_000_000)
            file.write(b"x" * 5000)
        self.settle()
        keep_mtime(os.path.join(self.copy, "sparse"), lambda path: overwrite(path, 0, bytes(200_000)))
        self.assert_equal("--content")

    def drift(self):
        """Others write to the target; returns what verify has to say of each place."""
        for name in ("gone", "changed", "mode", "owner", "xattr", "touched", "d/under", "typed", "same"):
            self.write(name, name * 1000)
        os.mkdir(self.path("emptied"))
        self.write("emptied/file")
        os.symlink("here", self.path("symlink"))
        os.link(self.path("same"), self.path("linked"))
        self.write("apart")
        os.mkdir(self.path("lost"))
        self.write("lost/file")
        self.settle()
        copy = lambda name: os.path.join(self.copy, name)
        os.unlink(copy("gone"))
        shutil.rmtree(copy("lost"))
        shutil.rmtree(copy("emptied"))
        os.mkdir(copy("emptied"))
        shutil.copystat(self.path("emptied"), copy("emptied"))
        with open(copy("changed"), "ab") as file:
            file.write(b"more")
        os.chmod(copy("mode"), 0o604)
        os.chown(copy("owner"), 3, 4)
        if FILESYSTEM != "tmpfs":
            os.setxattr(copy("xattr"), "user.x", b"1")
        else:
            os.setxattr(copy("xattr"), "trusted.x", b"1")
        os.utime(copy("touched"), (1, 1))
        os.unlink(copy("typed"))
        os.mkdir(copy("typed"))
        os.unlink(copy("symlink"))
        os.symlink("there", copy("symlink"))
        shutil.copyfile(copy("same"), copy("linked") + ".new")
        shutil.copystat(copy("same"), copy("linked") + ".new")
        os.rename(copy("linked") + ".new", copy("linked"))
        os.makedirs(copy("d/added/deep"))
        with open(copy("d/added/deep/file"), "w") as file:
            file.write("foreign")
        for directory in ("d", ""):
            shutil.copystat(self.path(directory), copy(directory))
        return {self.below(name): what for name, what in {
            "gone": "missing on the target", "lost": "missing on the target", "emptied/file": "missing on the target",
            "changed": "size 7000, on the target 7004", "mode": "mode 0644, on the target 0604",
            "owner": "owner 0:0, on the target 3:4", "xattr": "xattrs", "touched": "mtime ",
            "typed": "file, on the target directory", "symlink": "symlink target", "linked": "on the target it is another file",
            "d/added": "only on the target (directory)"}.items()}

    def test_drift_is_found_and_left_alone(self):
        wanted = self.drift()
        self.assert_finds(wanted)
        self.assert_finds(wanted)

    def test_drift_is_repaired(self):
        wanted = self.drift()
        self.assert_repairs(wanted)

    def test_only_what_differs_is_sent(self):
        self.write("large", os.urandom(1_000_000))
        self.write("other", os.urandom(1_000_000))
        self.settle()
        os.chmod(os.path.join(self.copy, "large"), 0o600)
        os.unlink(os.path.join(self.copy, "other"))
        os.utime(self.copy, ns=(0, os.stat(self.dir).st_mtime_ns))
        self.assertLess(self.wire_cost(lambda: self.assert_repairs(
            {self.below("large"): "mode 0644, on the target 0600", self.below("other"): "missing on the target"})), 1_200_000)

    def test_content_with_equal_size_and_times(self):
        self.write("file", os.urandom(3_000_000))
        os.link(self.path("file"), self.path("again"))
        self.write("well", os.urandom(3_000_000))
        self.settle()
        keep_mtime(os.path.join(self.copy, "file"), lambda path: overwrite(path, 2_500_000, b"rotten"))
        self.assert_equal()
        wanted = {self.below("file"): "content", self.below("again"): "content"}
        self.assert_finds(wanted, "--content")
        self.assertLess(self.wire_cost(lambda: self.assert_repairs(wanted, "--content")), 4_000_000)

    def test_no_file_data_moves(self):
        self.write("file", os.urandom(5_000_000))
        self.settle()
        self.assertLess(self.wire_cost(lambda: self.assert_equal("--content")), 20_000)

    def test_more_differences_than_are_looked_at_together(self):
        for i in range(2500):
            self.write(f"f{i}")
        self.settle()
        for i in range(2500):
            os.unlink(os.path.join(self.copy, f"f{i}"))
        os.utime(self.copy, ns=(0, os.stat(self.dir).st_mtime_ns))
        self.assert_repairs({self.below(f"f{i}"): "missing on the target" for i in range(2500)})

    def test_changes_meanwhile_are_no_differences(self):
        pids = churn.start(self.dir, 7, 2, 3000)
        try:
            while churn.running(pids):
                self.assert_equal("--content")
        finally:
            churn.finish(pids)
        self.settle()
        self.assert_equal("--content")


class Excluded(MirrorCase):
    job = {"exclude": ["*.tmp", "cache/"], "delete": False}

    def verify(self, *options):
        result = fanmirror("verify", "job", "--socket", self.mirror.socket, *options)
        return result.returncode, result.stdout.splitlines()

    def test_excluded_names_are_not_looked_at(self):
        for name in ("a.tmp", "cache/x", "kept"):
            self.write(name)
        self.mirror.wait()
        os.makedirs(os.path.join(self.copy, "cache/y"))
        with open(os.path.join(self.copy, "b.tmp"), "w") as file:
            file.write("theirs")
        os.utime(self.copy, ns=(0, os.stat(self.dir).st_mtime_ns))
        code, lines = self.verify("--content", "--repair")
        self.assertEqual((code, len(lines)), (0, 1), lines)
        self.assertTrue(os.path.exists(os.path.join(self.copy, "cache/y")))

    def test_nothing_is_deleted_that_may_not_be(self):
        self.mirror.wait()
        with open(os.path.join(self.copy, "theirs"), "w") as file:
            file.write("theirs")
        os.utime(self.copy, ns=(0, os.stat(self.dir).st_mtime_ns))
        code, lines = self.verify("--repair")
        self.assertEqual(code, 1)
        # What an earlier test left may not be deleted either.
        self.assertTrue(any(line.endswith("/theirs': only on the target (file); not repaired") for line in lines), lines)
        self.assertTrue(os.path.exists(os.path.join(self.copy, "theirs")))
        os.unlink(os.path.join(self.copy, "theirs"))

    def test_what_is_asked_for_must_exist(self):
        result = fanmirror("verify", "other", "--socket", self.mirror.socket)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no job 'other'; there are: job/", result.stderr)
        self.assertEqual(fanmirror("verify", "--socket", self.mirror.socket).returncode, 2)


if __name__ == "__main__":
    main()
