"""What must be on a target whatever happens to it: nodes that the barrier has confirmed and nobody has changed since."""

import os
import random
import shutil
import threading

from lib import judge

STEP = 6  # groups that one step makes, changes or deletes
FILES = 5  # of a group
LARGEST = 150_000  # bytes of a file
ABSENT = "absent"


class Ledger:
    """Groups of nodes below `root`, each a directory. step() changes some and has them confirmed by `barrier`."""

    def __init__(self, root, barrier, seed):
        self.root, self.barrier, self.random = root, barrier, random.Random(f"{seed}/ledger")
        self.lock, self.groups, self.made, self.steps = threading.Lock(), {}, 0, 0
        os.mkdir(root)

    def confirmed(self):
        """A copy of what is confirmed now: {name of the group: its state}. A state is replaced, never changed."""
        with self.lock:
            return dict(self.groups)

    def step(self):
        touched = [self.make() for _ in range(STEP // 2)]
        touched += self.change(self.random.sample(sorted(self.groups), min(STEP // 2, len(self.groups))))
        self.barrier()
        states = {name: describe(self.path(name)) for name in touched}
        with self.lock:
            self.groups.update(states)
        self.steps += 1

    def path(self, *names):
        return os.path.join(self.root, *names)

    def make(self):
        self.made += 1
        name = f"g{self.made}"
        os.mkdir(self.path(name))
        os.mkdir(self.path(name, "d"))
        for i in range(FILES):
            self.write(self.path(name, f"f{i}"))
        self.write(self.path(name, "d", "deeper"))
        os.link(self.path(name, "f0"), self.path(name, "d", "linked"))
        os.symlink("../f1", self.path(name, "d", "symlink"))
        os.mkfifo(self.path(name, "fifo"))
        os.setxattr(self.path(name, "f2"), "user.ledger", name.encode())
        os.chown(self.path(name, "f3"), 1000, 1001)
        os.chmod(self.path(name, "f3"), 0o4711)
        os.utime(self.path(name, "d"), ns=(1, self.random.randrange(1 << 60)))
        return name

    def write(self, path):
        with open(path, "wb") as file:
            file.write(self.random.randbytes(self.random.randrange(LARGEST)))
        os.utime(path, ns=(1, self.random.randrange(1 << 60)))

    def change(self, names):
        """Each loses its confirmation before it is changed."""
        names = [name for name in names if self.groups[name] != ABSENT]
        with self.lock:
            for name in names:
                del self.groups[name]
        changes = [self.rewrite, self.replace, self.metadata, self.rename, self.delete]
        return [touched for name in names for touched in self.random.choice(changes)(name)]

    def rewrite(self, name):
        self.write(self.path(name, "f0"))
        os.truncate(self.path(name, "f1"), 10)
        return [name]

    def replace(self, name):
        self.write(self.path(name, "new"))
        os.rename(self.path(name, "new"), self.path(name, "f1"))
        return [name]

    def metadata(self, name):
        os.chmod(self.path(name, "f3"), 0o600)
        os.chown(self.path(name, "d"), 5, 6)
        os.setxattr(self.path(name, "f2"), "user.ledger", b"changed")
        return [name]

    def rename(self, name):
        new = name + "r"
        os.rename(self.path(name), self.path(new))
        return [name, new]

    def delete(self, name):
        shutil.rmtree(self.path(name))
        return [name]


def describe(path):
    """All that is to be equal below `path`."""
    if not os.path.lexists(path):
        return ABSENT
    tree = judge.Tree(path, holes=False)
    return tree.nodes, tree.links


def unchanged(before, after):
    """Of two answers of Ledger.confirmed(): what held all the time in between."""
    return {name: state for name, state in before.items() if after.get(name) is state}


def violations(root, groups):
    """Lines that tell which of the confirmed groups are not at `root` as they were confirmed."""
    lines = []
    for name, expected in sorted(groups.items()):
        found = describe(os.path.join(root, name))
        if found == expected:
            continue
        if ABSENT in (found, expected):
            lines.append(f"{name}: is {'absent' if found == ABSENT else 'there'}")
            continue
        for path in sorted(expected[0].keys() | found[0].keys()):
            a, b = expected[0].get(path), found[0].get(path)
            if a != b:
                lines.append(f"{name}: {path!r} was confirmed as {a}, is {b}")
        if expected[1] != found[1]:
            lines.append(f"{name}: links were confirmed as {expected[1]}, are {found[1]}")
    return lines
