"""Renames of every kind are made on the target as renames: nothing that it holds is sent again."""

import os
import shutil

from lib import population
from lib.calls import exchange
from lib.case import FILESYSTEM, MirrorCase, main

ONE_OP = 4096  # bytes on the wire that a rename may cost, whatever it moves
DATA = 200_000  # bytes of a file whose sending again would show


class Renames(MirrorCase):
    job = {"exclude": ["/hidden/"]}

    def tree(self, name, files=3):
        """A directory with a few files that are too large to go unseen on the wire."""
        for i in range(files):
            self.write(f"{name}/f{i}", os.urandom(DATA))
        self.write(f"{name}/sub/deep", os.urandom(DATA))
        return self.path(name)

    def assert_cheap(self, change, ops=1):
        sent = self.wire_cost(change)
        self.assertLess(sent, ONE_OP * ops)
        self.compare()

    def rename(self, old, new):
        os.rename(self.path(old), self.path(new))

    def test_file(self):
        self.write("a", os.urandom(DATA))
        self.assert_cheap(lambda: self.rename("a", "b"))

    def test_file_across_directories(self):
        self.write("x/a", os.urandom(DATA))
        os.mkdir(self.path("y"))
        self.assert_cheap(lambda: self.rename("x/a", "y/a"))

    def test_file_over_an_existing_one(self):
        self.write("a", os.urandom(DATA))
        self.write("b", b"replaced")
        self.assert_cheap(lambda: self.rename("a", "b"))

    def test_every_type(self):
        population.make_specials(self.dir)
        population.make_symlinks(self.dir)
        names = os.listdir(os.fsencode(self.dir))
        os.mkdir(self.path("to"))
        self.mirror.wait()
        base = os.fsencode(self.dir)
        for name in names:
            os.rename(base + b"/" + name, base + b"/to/" + name + b".moved")
        self.settle()

    def test_odd_names(self):
        population.make_names(self.dir)
        self.mirror.wait()
        base = os.fsencode(self.path("names"))
        for name in population.ODD_NAMES:
            os.rename(base + b"/" + name, base + b"/" + b"\xfe" + name[:254])
        self.settle()

    def test_directory(self):
        self.tree("d")
        self.assert_cheap(lambda: self.rename("d", "e"))

    def test_directory_across_directories(self):
        self.tree("x/d")
        os.makedirs(self.path("y/z"))
        self.assert_cheap(lambda: self.rename("x/d", "y/z/e"))

    def test_directory_over_an_empty_one(self):
        self.tree("d")
        os.mkdir(self.path("e"))
        self.assert_cheap(lambda: self.rename("d", "e"))

    def test_directory_with_many_entries(self):
        count = 100_000 if FILESYSTEM == "tmpfs" else 10_000
        os.mkdir(self.path("many"))
        for i in range(count):
            os.close(os.open(self.path("many", f"entry {i}"), os.O_WRONLY | os.O_CREAT, 0o644))
        os.mkdir(self.path("other"))
        self.mirror.wait()
        scanned = self.mirror.status()["counters"]["scanned"]
        sent = self.wire_cost(lambda: self.rename("many", "other/renamed"))
        self.assertLess(sent, ONE_OP)
        # Rules that end above the directory let nothing below it be listed: an entry that was read within the clock's tick
        # of its change would be looked at again by that, and chance would decide what is sent.
        self.assertEqual(self.mirror.status()["counters"]["scanned"], scanned)
        with os.scandir(os.path.join(self.copy, "other", "renamed")) as entries:
            self.assertEqual(sum(1 for _ in entries), count)
        self.settle()

    def test_exchange_of_files(self):
        self.write("a", os.urandom(DATA))
        self.write("b", os.urandom(DATA))
        self.assert_cheap(lambda: exchange(self.path("a"), self.path("b")), ops=2)

    def test_exchange_of_directories(self):
        self.tree("a")
        self.tree("b", files=1)
        self.assert_cheap(lambda: exchange(self.path("a"), self.path("b")), ops=2)

    def test_exchange_of_a_file_and_a_directory(self):
        self.write("a", os.urandom(DATA))
        self.tree("x/b")
        self.assert_cheap(lambda: exchange(self.path("a"), self.path("x/b")), ops=2)

    def test_cycle_of_three(self):
        for kind in ("file", "directory"):
            for name in "abc":
                self.tree(f"{kind}/{name}") if kind == "directory" else self.write(f"{kind}/{name}", os.urandom(DATA))

            def turn(kind=kind):
                self.rename(f"{kind}/a", f"{kind}/t")
                self.rename(f"{kind}/c", f"{kind}/a")
                self.rename(f"{kind}/b", f"{kind}/c")
                self.rename(f"{kind}/t", f"{kind}/b")

            self.assert_cheap(turn, ops=3)

    def test_chain_within_a_settle_period(self):
        self.tree("d0")

        def chain():
            for i in range(50):
                self.rename(f"d{i}", f"d{i + 1}")

        self.assert_cheap(chain, ops=2)

    def test_there_and_back(self):
        self.tree("d")

        def round_trip():
            self.rename("d", "e")
            self.rename("e", "d")

        self.assert_cheap(round_trip)

    def test_shift_of_numbered_names(self):
        for i in range(8):
            self.write(f"log.{i}", os.urandom(DATA))

        def rotate():
            for i in reversed(range(8)):
                self.rename(f"log.{i}", f"log.{i + 1}")

        self.assert_cheap(rotate, ops=8)

    def test_directory_into_its_own_former_child(self):
        self.tree("a/b/c")
        self.write("a/file", os.urandom(DATA))

        def invert():
            self.rename("a/b", "b")
            self.rename("a", "b/a")

        self.assert_cheap(invert, ops=2)

    def test_inversion_of_a_chain_of_directories(self):
        self.tree("a/b/c/d")

        def invert():
            for old, new in (("a/b/c/d", "d"), ("a/b/c", "d/c"), ("a/b", "d/c/b"), ("a", "d/c/b/a")):
                self.rename(old, new)

        self.assert_cheap(invert, ops=4)

    def test_renamed_and_changed(self):
        self.tree("d")
        self.mirror.wait()
        self.rename("d", "e")
        self.write("e/f0", b"changed after")
        self.write("e/new", b"new")
        os.unlink(self.path("e/f1"))
        os.chmod(self.path("e/f2"), 0o600)
        self.settle()

    def test_renamed_and_its_name_taken(self):
        self.tree("d")
        self.write("f", b"first")
        self.mirror.wait()
        self.rename("d", "e")
        self.tree("d", files=1)
        self.rename("f", "g")
        self.write("f", b"second")
        self.settle()

    def test_renamed_out_of_a_directory_that_goes(self):
        self.tree("d")

        def rescue():
            self.rename("d/sub", "kept")
            shutil.rmtree(self.path("d"))

        self.assert_cheap(rescue, ops=2)

    def test_replaced_by_write_and_rename(self):
        self.write("config", b"old" * 1000)
        for i in range(20):
            self.write("config.new", b"version %d" % i)
            self.rename("config.new", "config")
        self.settle()

    def test_into_the_source(self):
        outer = os.path.join(self.outside, "in")
        os.mkdir(outer)
        population.make_everything(outer)
        os.rename(outer, self.path("came"))
        self.settle(holes=True)

    def test_out_of_the_source(self):
        self.tree("d")
        self.mirror.wait()
        outer = os.path.join(self.outside, "out")
        os.rename(self.path("d"), outer)
        self.addCleanup(shutil.rmtree, outer, ignore_errors=True)
        self.settle()
        self.assertFalse(os.path.lexists(os.path.join(self.copy, "d")))
        with open(os.path.join(outer, "f0"), "ab") as file:
            file.write(b"of no interest")
        os.rename(outer, self.path("back"))
        self.settle()

    def test_into_an_excluded_place_and_back(self):
        hidden = os.path.join(self.source, "hidden")
        os.makedirs(hidden, exist_ok=True)
        self.tree("d")
        self.mirror.wait()
        os.rename(self.path("d"), os.path.join(hidden, "d"))
        self.mirror.wait()
        self.assertFalse(os.path.lexists(os.path.join(self.copy, "d")))
        self.assertFalse(os.path.lexists(os.path.join(self.target, "hidden")))
        with open(os.path.join(hidden, "d", "f0"), "wb") as file:
            file.write(b"changed while nobody looks")
        os.rename(os.path.join(hidden, "d"), self.path("e"))
        shutil.rmtree(hidden)
        os.utime(self.source)
        self.settle()


if __name__ == "__main__":
    main()
