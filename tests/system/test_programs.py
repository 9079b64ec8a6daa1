"""Trees that other programs make and work on: unpacked packages, a git repository with gc, a database."""

import os
import shutil
import sqlite3
import subprocess
import sys

from lib.case import MirrorCase, main

# Every machine that builds this has it: some thousand files of C++ headers, with directories and symlinks.
PACKAGE = "/usr/include/c++"

# Writes rows in transactions of its own until its input ends.
DATABASE_WRITER = """
import sqlite3, sys, threading
database = sqlite3.connect(sys.argv[1], check_same_thread=False)
database.execute("pragma journal_mode = wal")
database.execute("create table rows (number integer primary key, text blob)")
print("ready", flush=True)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
number = 0
while not ended.is_set() or number < 200:
    number += 1
    with database:
        database.execute("insert into rows values (?, randomblob(3000))", (number,))
        database.execute("update rows set text = randomblob(5000) where number = ?", (1 + number * 7 % (number + 1),))
print(number, flush=True)
database.close()
"""


class Programs(MirrorCase):
    def git(self, *args):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        subprocess.run(["git", "-C", self.dir, "-c", "user.name=A", "-c", "user.email=a@b", "-c", "gc.autoDetach=false", *args],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)

    def test_package_unpacked_moved_and_removed(self):
        archive = subprocess.run(["tar", "-C", PACKAGE, "-cf", "-", "."], check=True, stdout=subprocess.PIPE).stdout
        for name in ("one", "two"):
            os.mkdir(self.path(name))
            subprocess.run(["tar", "-C", self.path(name), "-xf", "-"], input=archive, check=True)
        os.rename(self.path("two"), self.path("one", "two"))
        shutil.copytree(self.path("one"), self.path("three"), symlinks=True)
        self.settle()
        shutil.rmtree(self.path("one"))
        self.settle()

    def test_git_repository_with_gc(self):
        self.git("init", "-q")
        shutil.copytree(PACKAGE, self.path("sources"), symlinks=True)
        for commit in range(12):
            self.write(f"sources/changed-{commit % 5}", os.urandom(2000))
            self.git("add", "-A")
            self.git("commit", "-q", "-m", f"commit {commit}")
            if commit % 4 == 3:
                self.git("gc", "-q", "--prune=now", "--aggressive" if commit == 7 else "--auto")
            if commit % 3 == 2:
                self.git("checkout", "-q", "-b", f"branch-{commit}", "HEAD~1")
                self.git("repack", "-a", "-d", "-q")
        self.settle()
        # Of the copy git says the same as of the source.
        fsck = subprocess.run(["git", "-c", "safe.directory=*", "-C", self.copy, "fsck", "--full", "--strict"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        self.assertEqual(fsck.returncode, 0, fsck.stdout)

    def test_database_that_is_written_all_the_time(self):
        writer = subprocess.Popen([sys.executable, "-c", DATABASE_WRITER, self.path("data.db")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.assertEqual(writer.stdout.readline(), "ready\n")
        for _ in range(5):
            self.mirror.wait()  # nothing that it does holds up the barrier
        rows = int(writer.communicate()[0])
        self.assertEqual(writer.returncode, 0)
        self.settle()
        with sqlite3.connect(f"file:{self.copy}/data.db?immutable=1", uri=True) as copy:
            self.assertEqual(copy.execute("pragma integrity_check").fetchone(), ("ok",))
            self.assertEqual(copy.execute("select count(*) from rows").fetchone(), (rows,))


if __name__ == "__main__":
    main()
