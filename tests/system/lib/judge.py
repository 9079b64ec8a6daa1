"""Compares two trees by code that shares nothing with fanmirror, and once more with rsync.

Paths are bytes. Directories are walked by descriptors, so that paths may be longer than PATH_MAX.
"""

import hashlib
import os
import stat

from lib.host import run

OWN = b".fanmirror"  # in the root of a target
BLOCK = 4096
CHUNK = 1 << 20
MOST_LISTED = 20


def extents(fd, size):
    """The parts that hold data, as (start, end), widened to blocks."""
    parts, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole up to the end
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        start, end = start // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, size)
        if parts and parts[-1][1] >= start:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
        at = end
    return parts


def content(fd, parts):
    """A hash of every block that is not all zero, with its place: equal for equal content, whatever the holes."""
    digest = hashlib.blake2b()
    zero = bytes(BLOCK)
    for start, end in parts:
        at = start
        while at < end:
            data = os.pread(fd, min(CHUNK, end - at), at)
            if not data:
                break
            for offset in range(0, len(data), BLOCK):
                block = data[offset:offset + BLOCK]
                if block != zero[:len(block)]:
                    digest.update(b"%d:" % (at + offset) + block)
            at += len(data)
    return digest.hexdigest()


def xattrs(path):
    found = {}
    for name in os.listxattr(path, follow_symlinks=False):
        found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


class Tree:
    """All that is to be equal: nodes maps a path to a dict of properties, links is a set of groups of paths."""

    def __init__(self, root, holes):
        self.nodes, self.groups, self.holes = {}, {}, holes
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.device = os.fstat(root_fd).st_dev
            self.nodes[b"."] = self.describe(os.fstat(root_fd), f"/proc/self/fd/{root_fd}/.")
            self.walk(root_fd, b"")
        finally:
            os.close(root_fd)
        self.links = {frozenset(names) for names in self.groups.values() if len(names) > 1}

    def walk(self, directory, prefix):
        for name in sorted(map(os.fsencode, os.listdir(directory))):
            if not prefix and name == OWN:
                continue
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            path = prefix + name
            entry = os.fsencode(f"/proc/self/fd/{directory}/") + name
            node = self.describe(status, entry)
            self.nodes[path] = node
            if status.st_dev != self.device:
                continue  # a mount below the tree is not ours to look into
            if stat.S_ISDIR(status.st_mode):
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                try:
                    self.walk(child, path + b"/")
                finally:
                    os.close(child)
            else:
                self.groups.setdefault(status.st_ino, set()).add(path)
                if stat.S_ISREG(status.st_mode):
                    self.describe_data(name, directory, status.st_size, node)

    @staticmethod
    def describe(status, entry):
        kind = stat.S_IFMT(status.st_mode)
        node = {"type": kind, "mode": oct(stat.S_IMODE(status.st_mode)), "uid": status.st_uid, "gid": status.st_gid,
                "xattrs": xattrs(entry)}
        if kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            node["mtime"] = status.st_mtime_ns
        if kind in (stat.S_IFREG, stat.S_IFLNK):
            node["size"] = status.st_size
        if kind == stat.S_IFLNK:
            node["symlink"] = os.readlink(entry)
        if kind in (stat.S_IFBLK, stat.S_IFCHR):
            node["rdev"] = status.st_rdev
        return node

    def describe_data(self, name, directory, size, node):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME, dir_fd=directory)
        try:
            parts = extents(fd, size)
            node["content"] = content(fd, parts)
            if self.holes:
                node["data"] = parts
        finally:
            os.close(fd)


def differences(source, target, holes=False):
    """Lines that tell where the trees differ; empty when they are equal."""
    left, right = Tree(source, holes), Tree(target, holes)
    lines = []
    for path in sorted(left.nodes.keys() | right.nodes.keys()):
        a, b = left.nodes.get(path), right.nodes.get(path)
        if a is None or b is None:
            lines.append(f"{path!r}: only on the {'target' if a is None else 'source'}")
            continue
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                lines.append(f"{path!r}: {key} is {a.get(key)!r} on the source, {b.get(key)!r} on the target")
    for group in sorted(left.links ^ right.links, key=sorted):
        lines.append(f"hard links {sorted(group)!r}: only on the {'source' if group in left.links else 'target'}")
    return lines


def rsync_differences(source, target, exclude=()):
    """What rsync would have to do; empty when it finds nothing."""
    options = [f"--exclude={pattern}" for pattern in ("/.fanmirror", *exclude)]
    result = run("rsync", "-naciHAX", "--delete", "--modify-window=-1", *options, source + "/", target + "/")
    return [line for line in result.stdout.splitlines() if line]


def judge(source, target, holes=False, rsync_exclude=()):
    """Raises with a list unless both trees are equal. Whatever `rsync_exclude` names is beyond rsync, not beyond us."""
    lines = differences(source, target, holes)
    if not lines:
        lines = ["rsync: " + line for line in rsync_differences(source, target, rsync_exclude)]
    if lines:
        more = [f"... and {len(lines) - MOST_LISTED} more"] if len(lines) > MOST_LISTED else []
        raise AssertionError("the trees differ:\n" + "\n".join(lines[:MOST_LISTED] + more))
