"""The command line as scripts and people use it: output, exit codes, and the ways to the far side."""

import os
import pty
import re
import select
import signal
import subprocess
import time

from lib import judge, population
from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import DEADLINE, die_with_parent, run, until
from lib.mirror import PROGRAM, Mirror, fanmirror
from lib.sshd import Sshd


class CommandCase(WorkplaceCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source_fs = cls.work.filesystem(FILESYSTEM, "source")
        cls.target_fs = cls.work.filesystem(FILESYSTEM, "target")

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1]
        self.source = os.path.join(self.source_fs.path, self.name)
        self.target = os.path.join(self.target_fs.path, self.name)
        self.state = os.path.join(self.work.path, "state-" + self.name)
        os.mkdir(self.source)

    def write(self, name, data=b"data"):
        with open(os.path.join(self.source, name), "wb") as file:
            file.write(data)

    def once(self, *argv, target=None, code=0):
        result = fanmirror("mirror", "--once", "--state-dir", self.state, *argv, self.source, target or self.target)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def daemon(self, *targets, **job):
        targets = targets or ({"name": "near", "path": self.target},)
        mirror = Mirror(self.work.directory("daemon-" + self.name),
                        [{"name": "job", "source": self.source, **job, "target": list(targets)}])
        self.addCleanup(mirror.close)
        return mirror


class Once(CommandCase):
    def test_local(self):
        population.make_everything(self.source)
        result = self.once()
        self.assertRegex(result.stdout + result.stderr, r"initial sync done: \d+ files")
        judge.judge(self.source, self.target, holes=True)

    def test_again_sends_only_the_difference(self):
        for i in range(20):
            self.write(f"f{i}", os.urandom(10_000))
        self.once()
        os.rename(os.path.join(self.source, "f0"), os.path.join(self.source, "g0"))
        self.write("new")
        result = self.once()
        self.assertRegex(result.stdout + result.stderr, r"initial sync done: 1 files, 4 B")
        judge.judge(self.source, self.target)

    def test_selection_by_options(self):
        for name in ("a.tmp", "keep.tmp", "b"):
            self.write(name)
        self.once("--include", "keep.tmp", "--exclude", "*.tmp")
        self.assertEqual(sorted(os.listdir(self.target)), [".fanmirror", "b", "keep.tmp"])

    def test_over_a_directory_that_holds_data(self):
        os.mkdir(self.target)
        with open(os.path.join(self.target, "old"), "w"):
            pass
        self.write("new")
        result = self.once(code=1)
        self.assertIn("adopt", result.stderr)
        self.assertEqual(os.listdir(self.target), ["old"])
        self.once("--adopt")
        judge.judge(self.source, self.target)

    def test_adopt_of_an_equal_copy_sends_no_data(self):
        population.make_everything(self.source)
        self.write("large", os.urandom(3_000_000))
        run("rsync", "-aHAXS", self.source + "/", self.target + "/")
        result = self.once("--adopt")
        judge.judge(self.source, self.target)
        sent = re.search(r"initial sync done: \d+ files, ([\d.]+) (\w+) sent", result.stdout + result.stderr)
        self.assertTrue(sent and sent.group(2) in ("B", "kB"), result.stderr)

    def test_no_such_host(self):
        result = self.once(target="no-such-host.invalid:/x", code=1)
        self.assertIn("no-such-host.invalid", result.stderr)

    def test_what_cannot_be_replicated_is_listed(self):
        self.write("locked", b"before")
        self.once()
        locked = os.path.join(self.target, "locked")
        run("chattr", "+i", locked)
        self.addCleanup(run, "chattr", "-i", locked)
        self.write("locked", b"after")
        self.write("free")
        result = self.once(code=1)
        self.assertIn("locked", result.stderr)
        self.assertTrue(os.path.exists(os.path.join(self.target, "free")))


class Ssh(CommandCase):
    def setUp(self):
        super().setUp()
        self.sshd = Sshd(self.work.directory("sshd-" + self.name))
        self.addCleanup(self.sshd.close)
        self.far = f"{self.sshd.user}@127.0.0.1:{self.target}"

    def options(self):
        return ["--identity", self.sshd.identity, "--known-hosts", self.sshd.known_hosts, "--port", str(self.sshd.port)]

    def test_once(self):
        population.make_everything(self.source)
        self.once(*self.options(), "--receiver", PROGRAM, target=self.far)
        judge.judge(self.source, self.target, holes=True)

    def test_forced_command(self):
        self.sshd.authorize(f'restrict,command="{PROGRAM} receive --root {self.target}"')
        population.make_everything(self.source)
        self.once(*self.options(), "--receiver", "/whatever/it/says", target=self.far)
        judge.judge(self.source, self.target)

    def test_forced_command_serves_its_root_only(self):
        elsewhere = os.path.join(self.work.path, "elsewhere")
        self.sshd.authorize(f'restrict,command="{PROGRAM} receive --root {self.target}"')
        self.write("file")
        result = self.once(*self.options(), target=f"{self.sshd.user}@127.0.0.1:{elsewhere}", code=1)
        self.assertIn("only", result.stderr)
        self.assertFalse(os.path.exists(elsewhere))
        self.assertFalse(os.path.exists(os.path.join(self.target, "file")))

    def test_alias_of_the_ssh_configuration(self):
        """In this test's mount namespace, root has another ~/.ssh."""
        home = os.path.expanduser(f"~{self.sshd.user}/.ssh")
        if not os.path.isdir(home):
            os.mkdir(home, 0o700)
            self.addCleanup(os.rmdir, home)
        run("mount", "--bind", self.sshd.directory, home)
        self.addCleanup(run, "umount", home)
        with open(os.path.join(self.sshd.directory, "config"), "w") as file:
            file.write(f"Host dr-site\n  HostName 127.0.0.1\n  Port {self.sshd.port}\n  User {self.sshd.user}\n"
                       f"  IdentityFile {self.sshd.identity}\n  UserKnownHostsFile {self.sshd.known_hosts}\n")
        self.write("file")
        self.once("--receiver", PROGRAM, target=f"dr-site:{self.target}")
        judge.judge(self.source, self.target)

    def test_check(self):
        mirror = self.daemon(self.sshd.target(self.target))
        result = fanmirror("check", "--config", mirror.config)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertRegex(result.stdout, r"ok: target job/far: .*answers as fanmirror")
        self.sshd.kill()
        result = fanmirror("check", "--config", mirror.config)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertRegex(result.stdout, r"problem: .*job/far")


class Daemon(CommandCase):
    def test_status(self):
        mirror = self.daemon().start()
        self.write("file", b"12345")
        mirror.wait()
        status = mirror.status()
        job = status["jobs"][0]
        self.assertEqual((job["name"], job["state"], job["source"]), ("job", "live", self.source))
        self.assertEqual(job["mount"], self.source_fs.path)
        target = job["targets"][0]
        self.assertEqual((target["name"], target["state"], target["pending"]), ("near", "live", 0))
        self.assertEqual(target["last_error"], "")
        # Once by the scan and once by its events, or only once.
        self.assertIn((target["acked_files"], target["acked_bytes"]), ((1, 5), (2, 10)))
        self.assertEqual(target["lag_seconds"], 0)
        for counter in ("events", "overflows", "scans", "scanned", "wire_bytes_sent"):
            self.assertIsInstance(status["counters"][counter], int)
        table = fanmirror("status", "--socket", mirror.socket)
        self.assertEqual(table.returncode, 0)
        self.assertRegex(table.stdout, r"JOB +TARGET +STATE +LAG +PENDING")
        self.assertRegex(table.stdout, r"(?m)^job +near +live +0\.0 s +0 ")

    def test_no_daemon(self):
        for command in ("status", "wait"):
            result = fanmirror(command, "--socket", os.path.join(self.work.path, "nobody"))
            self.assertEqual(result.returncode, 1)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_wait(self):
        away = {"name": "away", "host": "root@127.0.0.1", "port": 1, "path": "/nowhere"}
        mirror = self.daemon({"name": "near", "path": self.target}, away).start()
        self.write("file")
        mirror.wait("job", "--target", "near")
        self.assertTrue(os.path.exists(os.path.join(self.target, "file")))
        started = time.monotonic()
        result = fanmirror("wait", "--socket", mirror.socket, "--timeout", "1s")
        self.assertEqual(result.returncode, 1)
        self.assertIn("away", result.stderr)
        self.assertGreater(time.monotonic() - started, 0.9)
        for argv in (["no-such-job"], ["job", "--target", "no-such-target"]):
            result = fanmirror("wait", "--socket", mirror.socket, *argv)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(argv[-1], result.stderr)

    def test_two_jobs_on_one_filesystem_into_each_other(self):
        """The target of the first job is the source of the second; both are on one filesystem, watched by one mark."""
        middle = os.path.join(self.source_fs.path, self.name + "-middle")
        last = os.path.join(self.source_fs.path, self.name + "-last")
        mirror = Mirror(self.work.directory("daemon-" + self.name), [
            {"name": "a", "source": self.source, "target": [{"name": "t", "path": middle}]},
            {"name": "b", "source": middle, "exclude": ["/.fanmirror/"], "target": [{"name": "t", "path": last}]},
        ])
        os.mkdir(middle)
        self.addCleanup(mirror.close)
        mirror.start()
        population.make_everything(self.source)
        mirror.wait("a")
        judge.judge(self.source, middle)
        until(lambda: not judge.differences(middle, last), lambda: "\n".join(judge.differences(middle, last)))

    def test_own_writes_cause_no_work(self):
        """Target and state directory on the watched filesystem, beside the source."""
        self.target = os.path.join(self.source_fs.path, self.name + "-copy")
        mirror = self.daemon()
        mirror.state_dir = os.path.join(self.source_fs.path, self.name + "-state")
        mirror.write_config()
        mirror.start()
        mirror.wait()
        for i in range(500):
            self.write(f"f{i}", b"x" * 1000)
        mirror.wait()
        judge.judge(self.source, self.target)
        self.assertLess(mirror.target()["acked_bytes"], 3 * 500 * 1000)
        self.until_quiet(mirror)

    def until_quiet(self, mirror):
        """Until a second passes without an event: what it writes does not feed itself."""
        seen = []

        def quiet():
            if not seen or time.monotonic() > seen[-1][0] + 1:
                seen.append((time.monotonic(), mirror.status()["counters"]["events"], mirror.wire_bytes()))
            return len(seen) > 1 and seen[-1][1:] == seen[-2][1:]

        until(quiet, lambda: f"a second without events: {seen}", 30)

    def test_one_daemon_a_state_directory(self):
        mirror = self.daemon().start()
        result = fanmirror("daemon", "--config", mirror.config, timeout=60)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(str(mirror.process.pid), result.stderr)
        mirror.wait()

    def test_user_can_unmount_the_source(self):
        fs = self.work.filesystem(FILESYSTEM, "unmounted")
        self.source = os.path.join(fs.path, "tree")
        os.mkdir(self.source)
        self.write("file")
        mirror = self.daemon().start()
        mirror.wait()
        self.assertEqual(run("umount", fs.path, check=False).stderr, "")
        self.assertTrue(os.path.exists(os.path.join(self.target, "file")))


class Live(CommandCase):
    def start(self, **streams):
        argv = [PROGRAM, "mirror", "--state-dir", self.state, "--settle", "20ms", self.source, self.target]
        process = subprocess.Popen(argv, preexec_fn=die_with_parent, **streams)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, name):
        until(lambda: os.path.exists(os.path.join(self.target, name)), f"{name} on the target")

    def test_without_a_terminal(self):
        log = os.path.join(self.work.path, "mirror.log")
        self.write("first")
        with open(log, "w") as file:
            process = self.start(stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self.wait_for("first")
        until(lambda: "initial sync done" in open(log).read(), "the initial sync in the log")
        self.write("second")
        self.wait_for("second")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 0)
        self.assertNotIn("\x1b", open(log).read())
        self.assertNotIn("\r", open(log).read())
        judge.judge(self.source, self.target)

    def test_on_a_terminal(self):
        os.mkdir(os.path.join(self.source, "sub"))
        self.write("sub/first")
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = self.start(stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        shown = b""
        end = time.monotonic() + DEADLINE
        while not re.search(rb"live: lag [^\r\n]*pending, last 'sub", shown) and time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                shown += os.read(master, 65536)
            if b"initial sync done" in shown and not os.path.exists(os.path.join(self.source, "sub", "second")):
                self.write("sub/second")
        self.assertRegex(shown, rb"live: lag [\d.]+ s, \d+ pending, last 'sub")
        self.wait_for("sub/second")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 0)
        judge.judge(self.source, self.target)


if __name__ == "__main__":
    main()
