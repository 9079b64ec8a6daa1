"""As many events as a process can cause on a fixed set of paths: writes, metadata, renames, deletes and creations."""

import itertools
import os


class Storm:
    """On the names f0 ... of `directories` below root, `names` in each; at any time about half of them exist."""

    def __init__(self, root, directories, names):
        self.root = root
        self.pairs = [(f"d{d}/f{n}", f"d{d}/f{n + names // 2}") for d in range(directories) for n in range(names // 2)]

    def populate(self):
        for first, _ in self.pairs:
            path = os.path.join(self.root, first)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(os.fsencode(first))

    def rage(self, share, shares):
        """Works on its share of the pairs for ever. An event merges with an unread one of the same process on the same
        object, so each round goes over all pairs before it meets one again."""
        os.chdir(self.root)
        mine = self.pairs[share::shares]
        rounds = itertools.cycle([self.chmod, self.write, self.rename, self.recreate])
        for number, act in enumerate(rounds):
            for i, (first, second) in enumerate(mine):
                if act(first, second, number):
                    mine[i] = (second, first)

    @staticmethod
    def chmod(path, _, number):
        os.chmod(path, 0o600 + number % 64)

    @staticmethod
    def write(path, _, number):
        fd = os.open(path, os.O_WRONLY)
        os.pwrite(fd, b"%d" % number, number % 1000)
        os.close(fd)

    @staticmethod
    def rename(path, other, _):
        os.rename(path, other)
        return True

    @staticmethod
    def recreate(path, other, number):
        os.unlink(path)
        fd = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(fd, b"%d" % number)
        os.close(fd)
        return True
