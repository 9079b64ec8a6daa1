"""Files that are replaced over and over by rename. Each content tells of itself whether it is whole."""

import os
import random

FILES = 24
MOST_LINES = 4000
SLOW = 0.02  # the share of versions that are written in two halves, with time in between to be sent as a half
HALF = 0.15  # seconds


def content(number, version, lines):
    return b"file %04d, version %08d, %06d lines of this\n" % (number, version, lines) * lines


class Writer:
    def __init__(self, root, seed):
        self.root, self.random, self.version = root, random.Random(seed), 0

    def replace_one(self, pause):
        """pause(seconds) is called where time is to pass."""
        number = self.random.randrange(FILES)
        self.version += 1
        data = content(number, self.version, self.random.randrange(1, MOST_LINES))
        path = os.path.join(self.root, f"v{number}")
        with open(path + ".new", "wb", buffering=0) as file:
            half = len(data) // 2 if self.random.random() < SLOW else 0
            if half:
                file.write(data[:half])
                pause(HALF)
            file.write(data[half:])
        os.rename(path + ".new", path)


def mixtures(root):
    """Lines that name the files whose content no version ever had. The .new ones may be anything: they are read while
    they are written."""
    if not os.path.isdir(root):
        return [f"{root} is not there"]
    lines = []
    for name in sorted(os.listdir(root)):
        if name.endswith(".new"):
            continue
        with open(os.path.join(root, name), "rb") as file:
            data = file.read()
        first = data[:data.find(b"\n") + 1]
        if not first or data != first * int(first.split()[4]) or int(first.split()[1].rstrip(b",")) != int(name[1:]):
            lines.append(f"{name}: {len(data)} bytes, beginning with {first!r}, are not one version")
    return lines
