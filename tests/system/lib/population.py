"""Makes every type of node with every kind of metadata that is mirrored."""

import os
import socket
import stat
import struct

from lib.host import run

EPOCH_2001 = 1_000_000_000_123_456_789  # nanoseconds that rsync's whole seconds would hide
BEFORE_1970 = -987_654_321
CAP_NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # VFS_CAP_REVISION_2 with the effective bit
ODD_NAMES = [b"new\nline", b"\xff\xfe invalid UTF-8", b"\x01control", b" blank ", b"-n", b"back\\slash", b"quo\"te'",
             b"*[glob]?", b"..hidden", b"...", b"\xe2\x82\xac", b"n" * 255, b"\xff" * 255, b"$(sh)`;|&", b"#", b"tab\t"]


def put(path, data=b"", mode=0o644):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    return path


def sparse(path, size, parts):
    """A file of `size` bytes, of which only `parts`, a list of (offset, data), are written."""
    with open(path, "wb") as file:
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    return path


def at(path, mtime_ns):
    os.utime(path, ns=(EPOCH_2001, mtime_ns), follow_symlinks=False)
    return path


def make_files(d):
    put(f"{d}/empty")
    put(f"{d}/one", b"1")
    put(f"{d}/block", b"b" * 4096)
    put(f"{d}/blocks", os.urandom(3 * 4096 + 1))
    put(f"{d}/megabytes", os.urandom(5 << 20))
    at(put(f"{d}/old", b"old"), EPOCH_2001)
    at(put(f"{d}/older", b"older"), BEFORE_1970)
    sparse(f"{d}/all hole", 1 << 20, [])
    sparse(f"{d}/holes", 8 << 20, [(1 << 20, b"x" * 8192), (5 << 20, b"y" * 4096)])
    sparse(f"{d}/hole at end", 2 << 20, [(0, b"x" * 4096)])
    sparse(f"{d}/zeros written", 1 << 16, [(0, bytes(1 << 16))])


def make_symlinks(d):
    at(os.symlink("one", f"{d}/link") or f"{d}/link", EPOCH_2001 + 1)
    os.symlink("nowhere/at all", f"{d}/dangling")
    os.symlink("/etc/hostname", f"{d}/absolute")
    os.symlink("../..", f"{d}/up")
    os.symlink(b"not \xff UTF-8\n", os.fsencode(d) + b"/odd")


def longest_symlink(d):
    """As long as the filesystem takes: 4,095 bytes where a block of 4 KiB holds it, xfs stops at 1,023."""
    for length in (4095, 1023):
        try:
            os.symlink("l" * length, f"{d}/long")
            return length
        except OSError:
            continue
    raise AssertionError("no long symlink can be made here")


def make_specials(d):
    os.mkfifo(f"{d}/fifo", 0o640)
    listener = socket.socket(socket.AF_UNIX)
    directory = os.open(d, os.O_PATH)
    listener.bind(f"/proc/self/fd/{directory}/socket")  # by descriptor: an address holds 107 bytes
    os.close(directory)
    listener.close()
    os.mknod(f"{d}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(f"{d}/disk", stat.S_IFBLK | 0o660, os.makedev(259, 262_143))
    at(f"{d}/null", EPOCH_2001)


def make_modes(d):
    for mode in (0o000, 0o400, 0o777, 0o4755, 0o2755, 0o1644, 0o6711):
        put(f"{d}/mode {mode:o}", b"m", mode)
    os.mkdir(f"{d}/sticky")
    os.chmod(f"{d}/sticky", 0o3777)
    for name, uid, gid in (("owned", 1000, 2000), ("high", 4_294_967_290, 4_294_967_291)):
        os.chown(put(f"{d}/{name}", b"o", 0o600), uid, gid)
        os.mkdir(f"{d}/{name}.d")
        os.chown(f"{d}/{name}.d", uid, gid)
    os.symlink("x", f"{d}/owned link")
    os.chown(f"{d}/owned link", 12, 34, follow_symlinks=False)
    setuid = put(f"{d}/owned setuid", b"s")
    os.chown(setuid, 77, 88)
    os.chmod(setuid, 0o6755)  # after chown, which clears it


def make_xattrs(d):
    file = put(f"{d}/attributes", b"x")
    for name, value in (("user.a", b"1"), ("user.empty", b""), ("user.binary", bytes(range(256))),
                        ("user.large", os.urandom(2000)), ("trusted.t", b"t"), ("security.capability", CAP_NET_RAW)):
        os.setxattr(file, name, value)
    os.mkdir(f"{d}/attributes.d")
    os.setxattr(f"{d}/attributes.d", "user.dir", b"d")
    os.setxattr(f"{d}/attributes.d", "trusted.dir", b"d")
    os.symlink("x", f"{d}/attributes link")
    os.setxattr(f"{d}/attributes link", "trusted.link", b"l", follow_symlinks=False)
    os.mkfifo(f"{d}/attributes fifo")
    os.setxattr(f"{d}/attributes fifo", "trusted.fifo", b"f")
    acl = put(f"{d}/acl", b"a", 0o640)
    run("setfacl", "-m", "u:1000:rw,g:2000:r,m:rwx", acl)
    os.mkdir(f"{d}/acl.d")
    run("setfacl", "-m", "u:1000:rwx", "-d", "-m", "u:1001:rx,g::rwx,o::-", f"{d}/acl.d")
    put(f"{d}/acl.d/inherits")
    put(f"{d}/acl.d/none").encode()
    run("setfacl", "-b", f"{d}/acl.d/none")
    os.mkdir(f"{d}/acl.d/inherits.d")


def make_links(d):
    put(f"{d}/l1", b"linked")
    os.mkdir(f"{d}/links")
    for name in ("l2", "links/l3", "links/l4"):
        os.link(f"{d}/l1", f"{d}/{name}")
    os.mkfifo(f"{d}/f1")
    os.link(f"{d}/f1", f"{d}/links/f2")
    os.symlink("x", f"{d}/s1")
    os.link(f"{d}/s1", f"{d}/links/s2", follow_symlinks=False)


def make_names(d):
    os.mkdir(f"{d}/names")
    base = os.fsencode(f"{d}/names/")
    for name in ODD_NAMES:
        put(base + name, name)
        os.mkdir(base + name[:250] + b".dir")
        put(base + name[:250] + b".dir/" + name)
        os.symlink(name, base + name[:250] + b".link")


def make_directories(d):
    os.makedirs(f"{d}/a/b/c/d")
    os.mkdir(f"{d}/a/empty")
    put(f"{d}/a/b/file", b"in b")
    at(f"{d}/a/b/c", EPOCH_2001)
    at(f"{d}/a/empty", BEFORE_1970)
    at(f"{d}/a", EPOCH_2001 + 7)


def make_everything(d):
    for make in (make_files, make_symlinks, longest_symlink, make_specials, make_modes, make_xattrs, make_links, make_names,
                 make_directories):
        make(d)


def make_deep(d, levels=24, name=b"d" * 200):
    """Directories until the path is beyond PATH_MAX, with a file and a symlink at the bottom."""
    fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        child = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = child
    file = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=fd)
    os.write(file, b"deep")
    os.close(file)
    os.symlink("bottom", b"link", dir_fd=fd)
    os.link(b"bottom", b"linked", src_dir_fd=fd, dst_dir_fd=fd)
    return fd
