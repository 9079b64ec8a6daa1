"""Hard-link groups stay groups, whatever happens to their names while it runs."""

import os
import shutil

from lib.calls import exchange
from lib.case import MirrorCase, main

DATA = 300_000  # bytes: sending the content again would show


class Links(MirrorCase):
    def group(self, *names):
        """A file of DATA random bytes with all these names, in sync."""
        path = self.write(names[0], os.urandom(DATA))
        for name in names[1:]:
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            os.link(path, self.path(name))
        self.mirror.wait()
        return path

    def inode(self, name):
        return os.lstat(os.path.join(self.copy, name)).st_ino

    def assert_no_content_sent(self, change):
        self.assertLess(self.wire_cost(change), DATA // 10)
        self.compare()

    def test_added_to_a_single_file(self):
        self.group("a")
        self.assert_no_content_sent(lambda: os.link(self.path("a"), self.path("b")))
        self.assertEqual(self.inode("a"), self.inode("b"))

    def test_added_in_another_directory(self):
        self.group("a", "b")
        os.mkdir(self.path("d"))
        self.assert_no_content_sent(lambda: os.link(self.path("b"), self.path("d/c")))

    def test_a_group_made_at_once(self):
        self.group("a", "b", "d/c", "d/e/f")
        self.settle()
        self.assertEqual(len({self.inode(name) for name in ("a", "b", "d/c", "d/e/f")}), 1)

    def test_first_name_removed(self):
        self.group("a", "b", "c")
        self.assert_no_content_sent(lambda: os.unlink(self.path("a")))

    def test_last_name_left(self):
        self.group("a", "b", "c")

        def leave_one():
            os.unlink(self.path("a"))
            os.unlink(self.path("c"))

        self.assert_no_content_sent(leave_one)

    def test_all_removed(self):
        self.group("a", "b")
        os.unlink(self.path("a"))
        os.unlink(self.path("b"))
        self.settle()

    def test_written_through_one_name(self):
        self.group("a", "d/b", "d/c")
        with open(self.path("d/b"), "ab") as file:
            file.write(b"more")
        self.settle()
        self.assertEqual(self.inode("a"), self.inode("d/c"))

    def test_metadata_through_one_name(self):
        self.group("a", "b")
        os.chmod(self.path("b"), 0o611)
        os.chown(self.path("a"), 7, 8)
        os.setxattr(self.path("b"), "user.x", b"y")
        self.settle()

    def test_broken_by_a_copy(self):
        self.group("a", "b")
        self.write("b.new", b"on its own")
        os.rename(self.path("b.new"), self.path("b"))
        self.settle()
        self.assertNotEqual(self.inode("a"), self.inode("b"))

    def test_a_name_joins_another_group(self):
        self.group("a1", "a2")
        self.group("b1", "b2")
        self.mirror.wait()

        def join():
            os.link(self.path("b1"), self.path("t"))
            os.rename(self.path("t"), self.path("a2"))

        self.assert_no_content_sent(join)
        self.assertEqual(self.inode("a2"), self.inode("b1"))

    def test_groups_merged_name_by_name(self):
        self.group("a1", "a2")
        self.group("b1", "b2")

        def merge():
            for name in ("a1", "a2"):
                os.unlink(self.path(name))
                os.link(self.path("b2"), self.path(name))

        self.assert_no_content_sent(merge)

    def test_exchange_across_groups(self):
        self.group("a1", "a2")
        self.group("b1", "b2")
        self.assert_no_content_sent(lambda: exchange(self.path("a1"), self.path("b1")))

    def test_names_renamed(self):
        self.group("a", "b", "d/c")

        def rename():
            os.rename(self.path("a"), self.path("d/x"))
            os.rename(self.path("d"), self.path("e"))
            os.rename(self.path("b"), self.path("a"))

        self.assert_no_content_sent(rename)

    def test_rename_over_a_link_of_itself_does_nothing(self):
        self.group("a", "b")
        os.rename(self.path("a"), self.path("b"))  # POSIX: both names stay
        self.settle()
        self.assertTrue(os.path.exists(os.path.join(self.copy, "a")))

    def test_link_and_unlink_again(self):
        self.group("a", "b")
        for _ in range(20):
            os.unlink(self.path("b"))
            os.link(self.path("a"), self.path("b"))
            os.link(self.path("a"), self.path("c"))
            os.unlink(self.path("c"))
        self.settle()

    def test_directory_with_links_to_outside_of_it_removed(self):
        self.group("keep", "d/x", "d/y")
        shutil.rmtree(self.path("d"))
        self.settle()

    def test_directory_with_a_whole_group_replaced(self):
        self.group("d/x", "d/y")
        shutil.rmtree(self.path("d"))
        self.group("d/x", "d/y", "d/z")
        self.settle()

    def test_a_tree_of_links_as_snapshots_make_it(self):
        for i in range(100):
            self.write(f"day0/f{i}", b"%d" % i * 500)
        for day in range(1, 6):
            os.mkdir(self.path(f"day{day}"))
            for i in range(100):
                os.link(self.path(f"day{day - 1}/f{i}"), self.path(f"day{day}/f{i}"))
            os.unlink(self.path(f"day{day}/f{day}"))
            self.write(f"day{day}/f{day}", b"changed on day %d" % day)
        self.settle()
        shutil.rmtree(self.path("day0"))
        os.rename(self.path("day5"), self.path("day0"))
        self.settle()

    def test_symlinks_and_fifos_in_groups(self):
        os.symlink("to", self.path("s1"))
        os.mkfifo(self.path("f1"))
        self.mirror.wait()
        os.link(self.path("s1"), self.path("s2"), follow_symlinks=False)
        os.link(self.path("f1"), self.path("f2"))
        self.settle()
        os.unlink(self.path("s1"))
        os.unlink(self.path("f1"))
        self.settle()

    def test_outside_names_of_a_group(self):
        path = self.group("a")
        other = os.path.join(self.outside, "other name")
        os.link(path, other)
        self.addCleanup(os.unlink, other)
        self.mirror.wait()
        os.link(other, self.path("b"))
        self.mirror.wait()
        os.unlink(path)
        self.mirror.wait()
        with open(self.path("b"), "ab") as file:
            file.write(b"through the name inside")
        self.settle()


if __name__ == "__main__":
    main()
