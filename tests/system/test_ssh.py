"""What ~/.ssh and the environment say of the way to a target: an alias, a host between, an agent."""

import os
import pwd
import signal
import subprocess

from lib.case import FILESYSTEM, WorkplaceCase, main
from lib.host import die_with_parent, run, until
from lib.mirror import Mirror
from lib.sshd import Sshd


class SshCase(WorkplaceCase):
    """A source, a target behind sshd, and a ~/.ssh that only this test sees."""

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1]
        self.fs = self.work.filesystem(FILESYSTEM, self.name + "-source")
        self.source = os.path.join(self.fs.path, "tree")
        self.target = os.path.join(self.work.directory(self.name + "-far"), "copy")
        os.mkdir(self.source)
        self.sshd = self.start_sshd("far")
        self.home = os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, ".ssh")
        os.makedirs(self.home, mode=0o700, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", self.home)
        self.addCleanup(run, "umount", "-l", self.home)

    def start_sshd(self, name):
        sshd = Sshd(self.work.directory(f"{self.name}-sshd-{name}"))
        self.addCleanup(sshd.close)
        return sshd

    def configure(self, text):
        with open(os.path.join(self.home, "config"), "w") as file:
            file.write(text)

    def start(self, **target):
        self.mirror = Mirror(self.work.directory("daemon-" + self.name),
                             [{"name": "job", "source": self.source,
                               "target": [{"name": "far", "path": self.target,
                                           "receiver": os.environ["FANMIRROR"], **target}]}])
        self.addCleanup(self.mirror.close)
        self.mirror.start()

    def write(self, name):
        with open(os.path.join(self.source, name), "w") as file:
            file.write(name)

    def assert_mirrors(self, name):
        self.write(name)
        self.mirror.wait()
        self.judge(self.source, self.target)

    def last_error(self):
        return self.mirror.target()["last_error"]


def entry(alias, sshd, *lines):
    """A Host of ~/.ssh/config that leads to `sshd`."""
    return "\n  ".join([f"Host {alias}", "HostName 127.0.0.1", f"Port {sshd.port}", f"User {sshd.user}",
                        f"IdentityFile {sshd.identity}", f"UserKnownHostsFile {sshd.known_hosts}", *lines]) + "\n"


class Config(SshCase):
    def test_alias(self):
        self.configure(entry("far-away", self.sshd))
        self.start(host="far-away")
        self.assert_mirrors("file")

    def test_proxy_jump(self):
        between = self.start_sshd("between")
        self.configure(entry("hop", between) + entry("behind", self.sshd, "ProxyJump hop"))
        self.start(host="behind")
        self.assert_mirrors("before")
        # It came through the host between, and nowhere else: with that one gone the target is lost, until it is back.
        self.assertTrue(between.sessions())
        between.kill()
        until(lambda: self.mirror.target()["state"] == "connecting" and self.last_error(), self.mirror.status_text)
        self.write("while")
        between.start()
        self.assert_mirrors("after")

    def test_proxy_jump_to_a_host_that_refuses(self):
        between = self.start_sshd("between")
        self.configure(entry("hop", between) + entry("behind", self.sshd, "ProxyJump hop"))
        os.unlink(os.path.join(between.directory, "authorized_keys"))
        self.start(host="behind")
        until(lambda: "Permission denied" in self.last_error(), self.mirror.status_text)
        between.authorize()
        self.assert_mirrors("file")


class Agent(SshCase):
    def setUp(self):
        super().setUp()
        socket = os.path.join(self.work.path, self.name + "-agent")
        self.agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.addCleanup(self.agent.wait)
        self.addCleanup(self.agent.send_signal, signal.SIGTERM)
        until(lambda: os.path.exists(socket), "ssh-agent listens")
        before = os.environ.get("SSH_AUTH_SOCK")
        os.environ["SSH_AUTH_SOCK"] = socket
        self.addCleanup(self.restore, before)

    @staticmethod
    def restore(before):
        if before is None:
            del os.environ["SSH_AUTH_SOCK"]
        else:
            os.environ["SSH_AUTH_SOCK"] = before

    def test_key_in_the_agent_alone(self):
        """No key file: refused until the agent has the key."""
        target = self.sshd.target(self.target)
        del target["identity_file"]
        self.start(**target)
        until(lambda: "key" in self.last_error(), self.mirror.status_text)
        self.assertEqual(self.mirror.target()["state"], "connecting")
        run("ssh-add", "-q", self.sshd.identity)
        self.assert_mirrors("file")


if __name__ == "__main__":
    main()
