"""Plays the service manager: hears what the daemon notifies, keeps its descriptors, and starts it with them."""

import fcntl
import os
import socket
import threading

FIRST_LISTENED = 3  # SD_LISTEN_FDS_START
OUT_OF_THE_WAY = 100
# The process id stays over exec, and the numbers of the descriptors are as a service is told that they are.
LAUNCH = 'eval "exec $1"; shift; LISTEN_PID=$$ exec "$@"'


class ServiceManager:
    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.lock = threading.Lock()
        self.kept = []  # (name, descriptor), in their order
        self.notified = set()
        self.prefix = []  # a program, with arguments, that starts the service by exec
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.socket, 8192, 16)
            if not text:  # close() shut it down
                return
            fields = dict(line.split("=", 1) for line in text.decode(errors="replace").splitlines() if "=" in line)
            with self.lock:
                self.take(fields, fds)

    def take(self, fields, fds):
        self.notified |= {f"{key}={value}" for key, value in fields.items() if key in ("READY", "STOPPING", "WATCHDOG")}
        name = fields.get("FDNAME", "stored")
        if fields.get("FDSTORE") == "1":
            self.kept += [(name, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)) for fd in fds]
        for fd in fds:
            os.close(fd)
        if fields.get("FDSTOREREMOVE") == "1":
            for _, fd in [entry for entry in self.kept if entry[0] == name]:
                os.close(fd)
            self.kept = [entry for entry in self.kept if entry[0] != name]

    def names(self):
        with self.lock:
            return sorted(name for name, _ in self.kept)

    def descriptor(self, prefix):
        """That of the only one whose name begins so; it stays the manager's."""
        with self.lock:
            found = [fd for name, fd in self.kept if name.startswith(prefix)]
        assert len(found) == 1, self.names()
        return found[0]

    def forget(self):
        """As when the host was rebooted: nothing is kept."""
        with self.lock:
            for _, fd in self.kept:
                os.close(fd)
            self.kept = []

    def launch(self, argv):
        """The arguments of subprocess.Popen that start the service with all that is kept."""
        with self.lock:
            kept = list(self.kept)
        fds = [fd for _, fd in kept]
        moves = " ".join(f"{FIRST_LISTENED + i}<&{fd} {fd}<&-" for i, fd in enumerate(fds))
        environment = {**os.environ, "NOTIFY_SOCKET": self.path}
        if kept:
            environment |= {"LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": ":".join(name for name, _ in kept)}
        return {"args": ["bash", "-c", LAUNCH, "bash", moves, *self.prefix, *argv], "env": environment, "pass_fds": fds}

    def close(self):
        self.socket.shutdown(socket.SHUT_RD)
        self.listener.join()
        self.socket.close()
        self.forget()
