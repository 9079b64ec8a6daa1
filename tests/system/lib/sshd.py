"""A real sshd on a free loopback port, with keys of its own."""

import os
import pwd
import signal
import socket
import subprocess

from lib.host import children, die_with_parent, run, until

SSHD = "/usr/sbin/sshd"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sshd:
    """Takes the current user, by public key only. `authorized_options` go before the key in authorized_keys. It listens
    on `address`, and is started by the command `prefix`, for a network namespace of its own."""

    def __init__(self, directory, authorized_options="", address="127.0.0.1", prefix=()):
        self.directory, self.address, self.prefix = directory, address, list(prefix)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.makedirs("/run/sshd", exist_ok=True)  # where it keeps its unprivileged child
        self.identity = os.path.join(directory, "id_ed25519")
        self.known_hosts = os.path.join(directory, "known_hosts")
        self.log = os.path.join(directory, "log")
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        for name in ("id_ed25519", "host_ed25519"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", os.path.join(directory, name))
        self.authorize(authorized_options)
        self.process = None
        self.port = free_port()
        self.start()

    def public_key(self, name):
        with open(os.path.join(self.directory, name + ".pub")) as file:
            return " ".join(file.read().split()[:2])

    def authorize(self, options=""):
        with open(os.path.join(self.directory, "authorized_keys"), "w") as file:
            file.write(f"{options} {self.public_key('id_ed25519')}\n".lstrip())

    def start(self):
        """Listens; returns when it takes connections."""
        config = os.path.join(self.directory, "sshd_config")
        with open(config, "w") as file:
            file.write(f"HostKey {self.directory}/host_ed25519\nPort {self.port}\nListenAddress {self.address}\n"
                       f"AuthorizedKeysFile {self.directory}/authorized_keys\n"
                       "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
                       "KbdInteractiveAuthentication no\nMaxStartups 100\nPrintMotd no\nUseDNS no\n")
        with open(self.known_hosts, "w") as file:
            file.write(f"[{self.address}]:{self.port} {self.public_key('host_ed25519')}\n")
        self.process = subprocess.Popen([*self.prefix, SSHD, "-D", "-f", config, "-E", self.log], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent)
        until(self.answers, lambda: f"sshd on port {self.port}: {self.tail()}", 30)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"sshd ends: {self.tail()}")
        try:
            with socket.create_connection((self.address, self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def tail(self):
        try:
            with open(self.log) as file:
                return file.read()[-500:]
        except OSError:
            return "no log"

    def target(self, path, **options):
        """A [[job.target]] that leads to `path` through this server."""
        return {"name": "far", "host": f"{self.user}@{self.address}", "port": self.port, "path": path,
                "identity_file": self.identity, "known_hosts": self.known_hosts,
                "receiver": os.environ["FANMIRROR"], **options}

    def sessions(self):
        return children(self.process.pid)

    def kill(self):
        """Ends the listener and its sessions, at once and without farewell."""
        if self.process is None:
            return
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process = None

    close = kill
