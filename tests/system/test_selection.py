"""Selection means what it means to rsync, and `delete` does what its four values say, at the start and later."""

import os
import shutil

from lib import judge
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import run
from lib.mirror import Mirror

NAMES = ["a.tmp", "b.log", "keep.tmp", "cache/x", "cache/keep.tmp", "sub/cache/y", "sub/a.tmp", "sub/deep/b.log",
         "sub/deep/trash/z", "trash/z", "foo/bar/baz", "foo/bar.txt", "x[1].txt", "x1.txt", "star*name", "one/two/three/f",
         "UPPER.TMP", ".hidden/f", "with blank/f", "build/out.o", "src/build/out.o", "src/main.c"]

# (what it is, the keys of the job, the same for rsync)
RULES = [
    ("no rules", {}, []),
    ("a suffix", {"exclude": ["*.tmp"]}, ["--exclude=*.tmp"]),
    ("anchored directory", {"exclude": ["/cache/"]}, ["--exclude=/cache/"]),
    ("directory anywhere", {"exclude": ["cache/"]}, ["--exclude=cache/"]),
    ("a path of two parts", {"exclude": ["deep/trash"]}, ["--exclude=deep/trash"]),
    ("one star and two", {"exclude": ["/sub/*/trash", "/one/**/f"]}, ["--exclude=/sub/*/trash", "--exclude=/one/**/f"]),
    ("three stars", {"exclude": ["foo/***"]}, ["--exclude=foo/***"]),
    ("classes and escapes", {"exclude": ["x[0-9].txt", "star\\*name"]}, ["--exclude=x[0-9].txt", "--exclude=star\\*name"]),
    ("include before exclude", {"include": ["keep.tmp"], "exclude": ["*.tmp"]},
     ["--include=keep.tmp", "--exclude=*.tmp"]),
    ("only some", {"include": ["*/", "*.c"], "exclude": ["*"]}, ["--include=*/", "--include=*.c", "--exclude=*"]),
    ("filter in its own order", {"filter": ["+ /sub/", "- *.tmp", "+ keep.tmp", "- /sub/*"]},
     ["--filter=+ /sub/", "--filter=- *.tmp", "--filter=+ keep.tmp", "--filter=- /sub/*"]),
    ("negated", {"filter": ["-! */", "+ *"]}, ["--filter=-! */", "--filter=+ *"]),
]


def populate(root):
    for name in NAMES:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(name)


class SelectionCase(WorkplaceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source_fs = cls.work.filesystem(FILESYSTEM, "source")
        cls.target_fs = cls.work.filesystem(FILESYSTEM, "target")
        cls.count = 0

    def mirror(self, populate_source=populate, **job):
        """A daemon of this test's own, started and in sync, with self.source and self.target."""
        type(self).count += 1
        self.source = os.path.join(self.source_fs.path, f"source{self.count}")
        self.target = os.path.join(self.target_fs.path, f"target{self.count}")
        os.mkdir(self.source)
        populate_source(self.source)
        mirror = Mirror(self.work.directory(f"daemon{self.count}"),
                        [{"name": "job", "source": self.source, **job,
                          "target": [{"name": "near", "path": self.target}]}])
        self.addCleanup(mirror.close)
        mirror.start()
        mirror.wait()
        return mirror

    def names(self, root):
        found = set()
        for directory, directories, files in os.walk(root):
            below = os.path.relpath(directory, root)
            found |= {os.path.normpath(os.path.join(below, name)) for name in directories + files}
        return {name for name in found if name.split("/")[0] != ".fanmirror"}


class Rules(SelectionCase):
    def assert_as_rsync(self, options):
        """What rsync makes of the same rules is what is on the target."""
        wanted = os.path.join(self.work.path, "rsync")
        shutil.rmtree(wanted, ignore_errors=True)
        run("rsync", "-a", *options, self.source + "/", wanted + "/", cwd=self.work.path)
        self.assertEqual(self.names(self.target), self.names(wanted))

    def test_as_rsync_at_the_start_and_live(self):
        for what, job, options in RULES:
            with self.subTest(what):
                mirror = self.mirror(**job)
                self.assert_as_rsync(options)
                for name in os.listdir(self.source):
                    path = os.path.join(self.source, name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                mirror.wait()
                self.assertEqual(self.names(self.target), set())
                populate(self.source)
                mirror.wait()
                self.assert_as_rsync(options)
                os.rename(os.path.join(self.source, "sub"), os.path.join(self.source, "cache", "sub"))
                os.rename(os.path.join(self.source, "foo"), os.path.join(self.source, "sub"))
                os.rename(os.path.join(self.source, "trash"), os.path.join(self.source, "foo"))
                mirror.wait()
                self.assert_as_rsync(options)
                mirror.stop()

    def test_exclude_from_a_file(self):
        lines = "# a comment\n; another\n\n+ keep.tmp\n*.tmp\n/trash/\n- *.log\n"
        with open(os.path.join(self.work.path, "patterns"), "w") as file:
            file.write(lines)
        directory = self.work.directory(f"daemon{self.count + 1}")
        shutil.copy(os.path.join(self.work.path, "patterns"), directory)
        self.mirror(exclude_from="patterns")  # relative to the configuration
        self.assert_as_rsync(["--exclude-from=patterns"])

    def test_renamed_from_excluded_to_included_and_back(self):
        mirror = self.mirror(exclude=["*.tmp"])
        os.rename(os.path.join(self.source, "a.tmp"), os.path.join(self.source, "a"))
        os.rename(os.path.join(self.source, "b.log"), os.path.join(self.source, "b.tmp"))
        mirror.wait()
        self.assert_as_rsync(["--exclude=*.tmp"])

    def test_mtime_of_a_directory_in_which_only_excluded_names_change(self):
        mirror = self.mirror(exclude=["*.tmp"])
        with open(os.path.join(self.source, "sub", "new.tmp"), "w"):
            pass
        mirror.wait()
        self.assertEqual(os.stat(os.path.join(self.source, "sub")).st_mtime_ns,
                         os.stat(os.path.join(self.target, "sub")).st_mtime_ns)

    def test_rules_changed_between_two_starts(self):
        mirror = self.mirror(exclude=["*.tmp"])
        mirror.stop()
        mirror.jobs[0]["exclude"] = ["*.log"]
        mirror.write_config()
        mirror.start()
        mirror.wait()
        # What is excluded from now on may stay, as it does with rsync.
        self.assertEqual({name for name in self.names(self.source) if not name.endswith(".log")},
                         {name for name in self.names(self.target) if not name.endswith(".log")})


class Delete(SelectionCase):
    """For each value: one file is deleted while it runs, one while it does not."""

    def assert_deletes(self, value, running, startup):
        def files(root):
            for name in ("running", "startup", "d/inner", "kept"):
                os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                with open(os.path.join(root, name), "w") as file:
                    file.write(name)

        mirror = self.mirror(files, delete=value)
        os.unlink(os.path.join(self.source, "running"))
        mirror.wait()
        self.assertEqual("running" not in self.names(self.target), running)
        mirror.stop()
        os.unlink(os.path.join(self.source, "startup"))
        shutil.rmtree(os.path.join(self.source, "d"))
        mirror.start()
        mirror.wait()
        left = self.names(self.target)
        self.assertEqual("startup" not in left, startup)
        self.assertEqual("d" not in left and "d/inner" not in left, startup)
        self.assertIn("kept", left)
        return mirror

    def test_true(self):
        mirror = self.assert_deletes(True, running=True, startup=True)
        mirror.wait()
        self.assertEqual(judge.differences(self.source, self.target), [])

    def test_false(self):
        self.assert_deletes(False, running=False, startup=False)

    def test_startup(self):
        self.assert_deletes("startup", running=False, startup=True)

    def test_running(self):
        self.assert_deletes("running", running=True, startup=False)

    def test_replacing_is_not_deleting(self):
        """A name that is taken by another node of the source gives way, whatever `delete` says."""
        mirror = self.mirror(delete=False)
        os.unlink(os.path.join(self.source, "a.tmp"))
        os.mkdir(os.path.join(self.source, "a.tmp"))
        os.rename(os.path.join(self.source, "b.log"), os.path.join(self.source, "keep.tmp"))
        mirror.wait()
        self.assertTrue(os.path.isdir(os.path.join(self.target, "a.tmp")))
        with open(os.path.join(self.target, "keep.tmp")) as file:
            self.assertEqual(file.read(), "b.log")


if __name__ == "__main__":
    main()
