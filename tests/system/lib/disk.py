"""A disk whose state can be kept in an instant: what a power cut leaves.

The image lies on an xfs of its own, in memory. FICLONE writes its pages out and shuts out writers, so a clone holds each
write that the loop device had completed, and of later ones nothing. That is a disk whose cache survives: what the mounted
filesystem has not written yet is lost, in any order that its own journal allows.
"""

import fcntl
import os

from lib.host import Filesystem, run, until

FICLONE = 0x40049409
HOLDER = "6G"  # sparse, in memory; what is written to the images and to their clones


class Holder:
    """Where images and clones lie."""

    def __init__(self, workplace):
        memory = workplace.filesystem("tmpfs", "memory", HOLDER)
        self.path = workplace.filesystem("xfs", "memory/holder", HOLDER).path
        run("chmod", "700", memory.path)


class Disk(Filesystem):
    """A filesystem at `path` whose image may be cloned, and replaced by a clone of it."""

    def __init__(self, kind, path, holder, size):
        self.kind, self.path, self.holder, self.clones = kind, path, holder, 0
        self.image = os.path.join(holder.path, os.path.basename(path))
        os.makedirs(path, exist_ok=True)
        run("truncate", "-s", size, self.image)
        run(*self.MAKE[kind], self.image)
        self.mount()

    def mount(self):
        """As a host does it after a power cut: the journal is replayed."""
        run("mount", "-o", "loop", self.image, self.path)
        self.device = run("findmnt", "-n", "-o", "SOURCE", self.path).stdout.split()[0]

    def unmount(self):
        """Waits for those who still hold it open, which are processes that were just killed."""
        until(lambda: run("umount", self.path, check=False).returncode == 0,
              lambda: f"umount {self.path}: {run('umount', self.path, check=False).stderr}")
        if self.kind == "btrfs":  # which would take the next clone for this filesystem, seen at an older time
            run("btrfs", "device", "scan", "--forget", self.device, check=False)

    def clone(self):
        """Keeps the present state; the path of the new image."""
        self.clones += 1
        path = f"{self.image}.{self.clones}"
        with open(self.image, "rb") as source, open(path, "xb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        return path

    def become(self, image):
        """Mounts another image in place of the present one, which must not be mounted and is lost."""
        if image != self.image:
            os.rename(image, self.image)
        self.mount()
