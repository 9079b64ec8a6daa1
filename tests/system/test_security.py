"""Others are at work in the source while it is read, and nothing from outside the job's tree is sent; the receiver has
confined itself; what the daemon keeps is its own alone."""

import os
import random
import signal
import stat
import subprocess
import sys

from lib.case import MirrorCase, main
from lib.host import die_with_parent, libc

SECRET = b"the secret of somebody else"
DIRECTORIES = 8
FILES = 8
ROUNDS = 150
RENAME_EXCHANGE = 2
AT_FDCWD = -100

# What a receiver as root may keep; see src/apply/confinement.cc.
KEPT = {0, 1, 3, 4, 21, 24, 27, 31}  # CHOWN DAC_OVERRIDE FOWNER FSETID SYS_ADMIN SYS_RESOURCE MKNOD SETFCAP


def exchange(one, other, one_dir=AT_FDCWD):
    """Swaps two names at once; whether both were there. `one` is relative to the descriptor `one_dir`."""
    return libc.renameat2(one_dir, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


def attack(strike):
    """A process that strikes until it is ended."""
    child = os.fork()
    if child == 0:
        die_with_parent()
        try:
            while True:
                strike()
        except BaseException as error:  # nothing of the test may run in here
            print(f"the attacker fails: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
    return child


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


class Source(MirrorCase):
    def make_outside(self):
        """Directories and files of the source's names, with what must never be sent."""
        for d in range(DIRECTORIES):
            os.makedirs(os.path.join(self.outside, f"d{d}"))
            for f in range(FILES):
                with open(os.path.join(self.outside, f"d{d}", f"f{f}"), "wb") as file:
                    file.write(SECRET * 100)
        for d in range(DIRECTORIES):
            os.symlink(os.path.join(self.outside, f"d{d}"), os.path.join(self.outside, f"link{d}"))
            for f in range(FILES):
                os.symlink(os.path.join(self.outside, f"d{d}", f"f{f}"), os.path.join(self.outside, f"link{d}.{f}"))

    def swap_directory(self):
        d = random.randrange(DIRECTORIES)
        here, there = self.path(f"d{d}"), os.path.join(self.outside, f"link{d}")
        exchange(here, there)
        exchange(here, there)

    def swap_file(self):
        d, f = random.randrange(DIRECTORIES), random.randrange(FILES)
        try:  # through a symlink it would be the outside that is changed, and its secrets moved in
            fd = os.open(self.path(f"d{d}"), os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            return
        for _ in range(2):
            exchange(f"f{f}", os.path.join(self.outside, f"link{d}.{f}"), fd)
        os.close(fd)

    def move_out(self):
        """A directory is filled outside, emptied, and is back at once."""
        d = random.randrange(DIRECTORIES)
        here, there = self.path(f"d{d}"), os.path.join(self.outside, f"moved{d}")
        try:
            os.rename(here, there)
        except OSError:  # it is elsewhere
            return
        private = os.path.join(there, "private")
        if not os.path.islink(there):
            with open(private, "wb") as file:
                file.write(SECRET)
            os.unlink(private)
        os.rename(there, here)

    def secrets_in_target(self):
        result = subprocess.run(["grep", "-rlF", SECRET.decode(), self.target], stdout=subprocess.PIPE, text=True)
        return result.stdout.splitlines()

    def test_what_is_outside_is_never_sent(self):
        self.make_outside()
        for d in range(DIRECTORIES):
            os.mkdir(self.path(f"d{d}"))
            for f in range(FILES):
                self.write(f"d{d}/f{f}", b"ours")
        self.mirror.wait()
        attackers = [attack(strike) for strike in (self.swap_directory, self.swap_file, self.move_out)]
        try:
            for round_ in range(ROUNDS):
                for d in range(DIRECTORIES):
                    name = f"d{d}/f{random.randrange(FILES)}"
                    new = self.path(f"new.{d}")
                    with open(new, "wb") as file:
                        file.write(b"ours, round %d" % round_)
                    try:
                        fd = os.open(self.path(f"d{d}"), os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
                    except OSError:  # it is a symlink now, or outside
                        continue
                    os.rename(new, name.split("/")[1], dst_dir_fd=fd)
                    os.close(fd)
                if round_ % 10 == 0:
                    self.assertEqual(self.secrets_in_target(), [])
        finally:
            for attacker in attackers:
                os.kill(attacker, signal.SIGTERM)
            ends = [os.waitpid(attacker, 0)[1] for attacker in attackers]
        self.assertEqual([os.WTERMSIG(end) for end in ends], [signal.SIGTERM] * len(ends))
        for d in range(DIRECTORIES):  # one may have been ended half way
            here, there = self.path(f"d{d}"), os.path.join(self.outside, f"link{d}")
            moved = os.path.join(self.outside, f"moved{d}")
            if os.path.lexists(moved):
                if os.path.lexists(os.path.join(moved, "private")) and not os.path.islink(moved):
                    os.unlink(os.path.join(moved, "private"))
                os.rename(moved, here)
            if os.path.islink(here) and os.path.isdir(there) and not os.path.islink(there):
                exchange(here, there)
        self.settle()
        self.assertEqual(self.secrets_in_target(), [])


class Host(MirrorCase):
    def test_the_receiver_is_confined(self):
        self.write("f")
        self.settle()
        receivers = self.mirror.receivers()
        self.assertTrue(receivers)
        for pid in receivers:
            status = status_of(pid)
            self.assertEqual(status["NoNewPrivs"].strip(), "1")
            self.assertEqual(status["Seccomp"].strip(), "2")
            for name in ("CapPrm", "CapEff", "CapBnd"):
                has = {bit for bit in range(64) if int(status[name], 16) >> bit & 1}
                self.assertLessEqual(has, KEPT, name)
            self.assertEqual(int(status["CapInh"], 16), 0)
            self.assertEqual(int(status["CapAmb"], 16), 0)

    def test_what_is_ours_is_for_us_alone(self):
        self.write("f")
        self.settle()
        ours = [self.mirror.state_dir, os.path.join(self.target, ".fanmirror")]
        found = 0
        for top in ours:
            for path in [top] + [os.path.join(at, name) for at, dirs, files in os.walk(top) for name in dirs + files]:
                mode = os.lstat(path).st_mode
                found += 1
                if stat.S_ISDIR(mode):  # nobody else gets as far as the files
                    self.assertEqual(stat.S_IMODE(mode) & 0o077, 0, f"{path} is {stat.filemode(mode)}")
                self.assertFalse(stat.S_ISLNK(mode), path)
        self.assertGreater(found, 6)
        self.assertEqual(stat.S_IMODE(os.stat(self.mirror.socket).st_mode) & 0o077, 0)


if __name__ == "__main__":
    main()
