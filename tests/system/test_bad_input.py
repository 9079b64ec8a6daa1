"""Configuration that cannot work is refused with one line; a target that cannot work holds up nobody else and recovers."""

import os
import re
import shutil
import sys
import tempfile

from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import run, until
from lib.mirror import PROGRAM, Mirror, fanmirror
from lib.sshd import Sshd

NOBODY = 65534
GOOD = """[[job]]
name = "one"
source = "{source}"
[[job.target]]
name = "near"
path = "{target}"
"""

# The real receiver, but that the hello of one side arrives with a protocol number that is one higher.
OTHER_VERSION = """#!{python}
import subprocess, sys, threading

child = subprocess.Popen(["{program}", *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

def other_hello(source):
    header = source.read(5)
    payload = source.read(int.from_bytes(header[:4], "little"))
    assert payload[0] == 8 and payload[1] < 127, payload
    return header + bytes([8, payload[1] + 1]) + payload[2:]

def pump(source, sink, banner, changed):
    if banner:
        sink.write(source.readline())
    sink.write(other_hello(source) if changed else b"")
    sink.flush()
    while data := source.read1(65536):
        sink.write(data)
        sink.flush()
    sink.close()

threading.Thread(target=pump, args=(sys.stdin.buffer, child.stdin, False, "{side}" == "source"), daemon=True).start()
pump(open(child.stdout.fileno(), "rb", closefd=False), sys.stdout.buffer, True, "{side}" == "receiver")
"""

# (what is wrong, the text, a pattern of the message); the line of the fault is marked with "#!".
CONFIGURATIONS = [
    ("no job", "[daemon]\n", r"job"),
    ("malformed", GOOD + "this is not TOML #!\n", r"; "),
    ("an unknown key", GOOD.replace("[[job.target]]", 'exlude = ["x"] #!\n[[job.target]]'), r"exlude.*exclude"),
    ("an unknown table", "[deamon] #!\n" + GOOD, r"deamon.*daemon"),
    ("a wrong type", GOOD.replace("[[job.target]]", "settle = 5 #!\n[[job.target]]"), r"settle"),
    ("an impossible value", GOOD.replace("[[job.target]]", 'max_delay = "-1s" #!\n[[job.target]]'), r"max_delay"),
    ("an impossible delete", GOOD.replace("[[job.target]]", 'delete = "later" #!\n[[job.target]]'), r"delete.*startup"),
    ("a missing source", GOOD.replace('{source}"', '{source}/missing" #!'), r"source.*missing"),
    ("a source that is a file", GOOD.replace('{source}"', '{source}/file" #!'), r"source"),
    ("a relative source", GOOD.replace('{source}"', 'relative" #!'), r"relative"),
    ("a target inside its source", GOOD.replace('{target}"', '{source}/inside" #!'), r"inside"),
    ("a source inside its target", GOOD.replace('{target}"', '{parent}" #!'), r"(inside|around|below|contains)"),
    ("a name used twice", GOOD + GOOD.replace('"one"', '"one" #!').replace("{target}", "{target}2"), r"one"),
    ("two targets in one place", GOOD + '[[job.target]]\nname = "b"\npath = "{target}" #!\n', r"target"),
    ("a bad filter rule", GOOD.replace("[[job.target]]", 'filter = ["merge x"] #!\n[[job.target]]'), r"merge"),
    ("no patterns file", GOOD.replace("[[job.target]]", 'exclude_from = "none" #!\n[[job.target]]'), r"none"),
    ("a source on proc", GOOD.replace('{source}"', '/proc" #!'), r"proc"),
    ("a source on sysfs", GOOD.replace('{source}"', '/sys/kernel" #!'), r"sysfs"),
]


class Configuration(WorkplaceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fs = cls.work.filesystem(FILESYSTEM, "fs")
        cls.source = os.path.join(cls.fs.path, "parent", "source")
        os.makedirs(cls.source)
        with open(os.path.join(cls.source, "file"), "w"):
            pass

    def configure(self, text):
        path = os.path.join(self.work.path, "bad.toml")
        text = (text.replace("{source}", self.source).replace("{parent}", os.path.dirname(self.source))
                .replace("{target}", os.path.join(self.work.path, "target")))
        if "[daemon]" not in text:
            text += f'[daemon]\nstate_dir = "{self.work.path}/state"\ncontrol_socket = "{self.work.path}/socket"\n'
        with open(path, "w") as file:
            file.write(text)
        line = next((i for i, l in enumerate(text.splitlines(), 1) if "#!" in l), None)
        return path, line

    def assert_one_line(self, result, code):
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("fanmirror: "), result.stderr)

    def test_each_mistake_is_named_with_its_place(self):
        for what, text, pattern in CONFIGURATIONS:
            with self.subTest(what):
                path, line = self.configure(text)
                result = fanmirror("daemon", "--config", path, timeout=60)
                self.assert_one_line(result, 2)
                self.assertRegex(result.stderr, pattern)
                if line:
                    self.assertRegex(result.stderr, rf"{re.escape(path)}:{line}:\d+: ")
                check = fanmirror("check", "--config", path)
                self.assertNotEqual(check.returncode, 0, check.stdout)
                self.assertIn("problem: ", check.stdout)

    def test_no_file(self):
        result = fanmirror("daemon", "--config", os.path.join(self.work.path, "none.toml"))
        self.assert_one_line(result, 2)
        self.assertIn("none.toml", result.stderr)

    def test_usage(self):
        for argv in ([], ["frobnicate"], ["mirror"], ["mirror", "/only-one"], ["wait", "--timeout", "soon"],
                     ["mirror", self.source, "/tmp/x", "--delete=perhaps"], ["receive"], ["status", "--no-such-option"]):
            with self.subTest(argv):
                self.assert_one_line(fanmirror(*argv), 2)

    def test_mirror_of_what_cannot_be_mirrored(self):
        for source, target in ((os.path.join(self.source, "missing"), "/tmp/x"), ("/proc", "/tmp/x"),
                               (self.source, os.path.join(self.source, "inside")),
                               (self.source, os.path.dirname(self.source))):
            with self.subTest(source=source, target=target):
                self.assert_one_line(fanmirror("mirror", "--once", source, target), 2)

    def test_not_root(self):
        place = tempfile.mkdtemp(prefix="fanmirror-nobody-")
        self.addCleanup(shutil.rmtree, place)
        os.chmod(place, 0o755)
        program = shutil.copy(PROGRAM, os.path.join(place, "fanmirror"))
        for argv in (["daemon", "--config", "/dev/null"], ["mirror", "/tmp", "/var/tmp/x"], ["check"]):
            with self.subTest(argv):
                result = run(program, *argv, check=False, user=NOBODY, group=NOBODY, extra_groups=[])
                self.assert_one_line(result, 2)
                self.assertIn("root", result.stderr)


class TargetCase(WorkplaceCase):
    def setUp(self):
        name = self.id().rsplit(".", 1)[-1]
        self.fs = self.work.filesystem(FILESYSTEM, name + "-source")
        self.source = os.path.join(self.fs.path, "tree")
        self.near = self.work.directory(name + "-near")
        os.mkdir(self.source)
        self.name = name

    def start(self, target, jobs=()):
        """A daemon with a target that works ("near") and the one given ("bad") of one job, and more jobs."""
        self.bad = target["path"]
        self.mirror = Mirror(self.work.directory("daemon-" + self.name),
                             [{"name": "job", "source": self.source,
                               "target": [{"name": "near", "path": self.near}, {**target, "name": "bad"}]}, *jobs])
        self.addCleanup(self.mirror.close)
        return self.mirror.start()

    def write(self, name, data=b"data"):
        with open(os.path.join(self.source, name), "wb") as file:
            file.write(data)

    def error(self, *words, name="bad", job="job"):
        """Waits until the status of the target tells an error with all these words; returns it."""
        def told():
            last = self.mirror.target(job, name)["last_error"]
            return last if all(word in last for word in words) else None

        error = until(told, lambda: f"{words} in last_error of {self.mirror.status_text()}")
        self.assertNotIn("\n", error)
        return error

    def assert_others_go_on(self, name):
        self.write(name)
        self.mirror.wait("job", "--target", "near")
        self.assertTrue(os.path.exists(os.path.join(self.near, name)))

    def assert_recovers(self):
        self.mirror.wait()
        self.judge(self.source, self.near)
        self.judge(self.source, self.bad)
        until(lambda: self.mirror.target("job", "bad")["last_error"] == "", self.mirror.status_text)


class LocalTarget(TargetCase):
    def test_full(self):
        small = self.work.filesystem(FILESYSTEM, "small", "32M")
        filler = os.path.join(small.path, "filler")
        with open(filler, "wb") as file:
            file.write(bytes(16 << 20))
        self.start({"path": os.path.join(small.path, "copy")})
        self.mirror.wait()
        for i in range(8):
            self.write(f"f{i}", os.urandom(2 << 20))
        self.error("No space left")
        self.assert_others_go_on("small")
        self.assertGreater(self.mirror.target("job", "bad")["pending"], 0)
        os.unlink(filler)
        self.assert_recovers()

    def test_full_until_the_source_deletes(self):
        small = self.work.filesystem(FILESYSTEM, "smaller", "32M")
        self.start({"path": os.path.join(small.path, "copy")})
        self.move_in("large", 12 << 20)
        self.mirror.wait()
        self.move_in("another", 18 << 20)
        self.error("No space left")
        os.unlink(os.path.join(self.source, "large"))
        self.assert_recovers()

    def move_in(self, name, size):
        """A file that is whole from the first: no half-written version takes the room of the small target."""
        outside = os.path.join(os.path.dirname(self.source), name)
        with open(outside, "wb") as file:
            file.write(os.urandom(size))
        os.rename(outside, os.path.join(self.source, name))

    def test_read_only(self):
        other = self.work.filesystem(FILESYSTEM, "read-only")
        self.start({"path": os.path.join(other.path, "copy")})
        self.write("before")
        self.mirror.wait()
        other.remount("ro")
        self.write("while")
        self.error("Read-only")
        self.assert_others_go_on("others")
        other.remount("rw")
        self.assert_recovers()

    def test_immutable_and_append_only(self):
        other = self.work.filesystem(FILESYSTEM, "immutable")
        self.start({"path": os.path.join(other.path, "copy")})
        for name in ("locked", "growing", "free"):
            self.write(name, b"before")
        self.mirror.wait()
        locked, growing = (os.path.join(self.bad, name) for name in ("locked", "growing"))
        self.addCleanup(run, "chattr", "-i", "-a", locked, growing, check=False)
        run("chattr", "+i", locked)
        run("chattr", "+a", growing)
        for name in ("locked", "growing", "free"):
            self.write(name, b"after!")
        until(lambda: open(os.path.join(self.bad, "free")).read() == "after!", "the file that is free")
        self.assert_others_go_on("others")
        self.error("Operation not permitted")
        with open(self.mirror.log_path) as log:
            text = log.read()
        self.assertIn("locked", text)
        self.assertIn("growing", text)
        self.assertEqual(self.mirror.target("job", "bad")["state"], "live")
        self.assertEqual(open(locked).read(), "before")
        run("chattr", "-i", "-a", locked, growing)
        self.assert_recovers()

    def test_somebody_elses_directory(self):
        path = self.work.directory("theirs")
        with open(os.path.join(path, "precious"), "w"):
            pass
        self.start({"path": path})
        self.write("file")
        self.error("adopt")
        self.assert_others_go_on("others")
        self.assertEqual(os.listdir(path), ["precious"])

    def test_directory_of_another_job(self):
        path = self.work.directory("of-another")
        other = os.path.join(self.fs.path, "other")
        os.mkdir(other)
        first = Mirror(self.work.directory("daemon-first"),
                       [{"name": "first", "source": other, "target": [{"name": "t", "path": path}]}])
        self.addCleanup(first.close)
        first.start().wait()
        first.stop()
        before = sorted(os.listdir(path))
        self.start({"path": path})
        self.write("file")
        self.error("first")
        self.assert_others_go_on("others")
        self.assertEqual(sorted(os.listdir(path)), before)


class RemoteTarget(TargetCase):
    def setUp(self):
        super().setUp()
        self.sshd = Sshd(self.work.directory(self.name + "-sshd"))
        self.addCleanup(self.sshd.close)
        self.path = os.path.join(self.work.directory(self.name + "-far"), "copy")

    def test_wrong_key(self):
        other = os.path.join(self.work.path, "wrong_key")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
        self.start(self.sshd.target(self.path, identity_file=other))
        self.error("key")
        self.assert_others_go_on("others")
        self.assertEqual(self.mirror.target("job", "bad")["state"], "connecting")
        with open(other + ".pub") as key, open(os.path.join(self.sshd.directory, "authorized_keys"), "a") as file:
            file.write(key.read())
        self.assert_recovers()

    def test_unknown_host_key(self):
        empty = os.path.join(self.work.path, "no_known_hosts")
        with open(empty, "w"):
            pass
        self.start(self.sshd.target(self.path, known_hosts=empty))
        error = self.error("host key")
        self.assertRegex(error, r"ssh-keyscan|StrictHostKeyChecking")  # the line to run
        self.assert_others_go_on("others")
        shutil.copy(self.sshd.known_hosts, empty)
        self.assert_recovers()

    def test_changed_host_key(self):
        changed = os.path.join(self.work.path, "changed_known_hosts")
        with open(changed, "w") as file:
            file.write(f"[127.0.0.1]:{self.sshd.port} {self.sshd.public_key('id_ed25519')}\n")
        self.start(self.sshd.target(self.path, known_hosts=changed))
        self.error("HOST KEY CHANGED")
        self.assert_others_go_on("others")
        self.assertFalse(os.path.exists(self.path))

    def test_missing_receiver(self):
        program = os.path.join(self.work.path, "not-there-yet")
        self.start(self.sshd.target(self.path, receiver=program))
        self.error("not-there-yet")
        self.assert_others_go_on("others")
        os.symlink(PROGRAM, program)
        self.assert_recovers()

    def test_something_else_as_receiver(self):
        program = os.path.join(self.work.path, "something-else")
        with open(program, "w") as file:
            file.write("#!/bin/sh\necho What a nice day.\necho It cannot work. >&2\n")
        os.chmod(program, 0o755)
        self.start(self.sshd.target(self.path, receiver=program))
        until(lambda: "It cannot work." in self.mirror.log(), "the far side's stderr in the log")
        self.assertTrue(self.error())
        self.assert_others_go_on("others")

    def other_version(self, side):
        """A mirror to a receiver of another version, until the right one is installed; gives the error."""
        program = os.path.join(self.work.path, "other-version-" + side)
        with open(program, "w") as file:
            file.write(OTHER_VERSION.format(python=sys.executable, program=PROGRAM, side=side))
        os.chmod(program, 0o755)
        self.write("before")
        self.start(self.sshd.target(self.path, receiver=program))
        error = self.error("protocol", "same version")
        self.assert_others_go_on("others")
        target = self.mirror.target("job", "bad")
        self.assertEqual(target["state"], "connecting")
        self.assertGreater(target["pending"], 0)
        os.unlink(program)
        os.symlink(PROGRAM, program)
        self.assert_recovers()
        return error

    def test_receiver_refuses_another_version(self):
        self.assertIn("this receiver is fanmirror", self.other_version("source"))

    def test_source_refuses_another_version(self):
        self.assertIn("the receiver (fanmirror", self.other_version("receiver"))

    def test_no_host(self):
        self.sshd.kill()
        self.start(self.sshd.target(self.path))
        self.error("refused")
        self.assert_others_go_on("others")
        self.sshd.start()
        self.assert_recovers()


if __name__ == "__main__":
    main()
