"""The program under test: its commands, and a daemon with a configuration, state and socket of its own."""

import json
import os
import signal
import subprocess

from lib.host import DEADLINE, children, die_with_parent, run, until

PROGRAM = os.environ.setdefault("FANMIRROR", "fanmirror")


def fanmirror(*argv, check=False, **options):
    """Runs one command to its end; subprocess.CompletedProcess with text."""
    return run(PROGRAM, *argv, check=check, **options)


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value)  # TOML's basic strings and integers


def table(header, values):
    return "\n".join([header] + [f"{key} = {toml(value)}" for key, value in values.items()]) + "\n"


class Mirror:
    """A daemon. `jobs` are dicts of the keys of [[job]], with "target" as a list of dicts of [[job.target]]; `daemon` has
    further keys of [daemon]. `service` starts it, if there is one (lib.service_manager)."""

    def __init__(self, directory, jobs, settle="20ms", max_delay="200ms", daemon=None, service=None):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.state_dir = os.path.join(directory, "state")
        self.socket = os.path.join(directory, "control.sock")
        self.config = os.path.join(directory, "fanmirror.toml")
        self.log_path = os.path.join(directory, "log")
        # Tests delete as they like; those of the guard against mass deletes set their own limit.
        self.jobs = [{"settle": settle, "max_delay": max_delay, "max_delete": False, **job} for job in jobs]
        self.daemon = {"state_dir": self.state_dir, "control_socket": self.socket, **(daemon or {})}
        self.service = service
        self.process = None
        self.write_config()

    def write_config(self):
        text = table("[daemon]", self.daemon)
        for job in self.jobs:
            text += table("[[job]]", {key: value for key, value in job.items() if key != "target"})
            for target in job["target"]:
                text += table("[[job.target]]", target)
        with open(self.config, "w") as file:
            file.write(text)

    def start(self):
        """Starts the daemon; returns when it answers, which may be before the initial sync is done."""
        argv = [PROGRAM, "daemon", "--config", self.config]
        environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
        how = self.service.launch(argv) if self.service else {"args": argv, "env": environment}
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(**how, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)
        until(self.answers, lambda: f"the daemon answers; its log:\n{self.log()}")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ends with {self.process.returncode}; its log:\n{self.log()}")
        return fanmirror("status", "--json", "--socket", self.socket).returncode == 0

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()[-6000:]

    def stop(self, deadline=60):
        """A clean stop, as a service manager does it."""
        self.process.terminate()
        code = self.process.wait(deadline)
        if code != 0:
            raise AssertionError(f"the daemon ends with {code} when stopped; its log:\n{self.log()}")
        self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def wait(self, *argv, timeout=DEADLINE):
        """The barrier: returns when all that changed before is durable on the targets."""
        result = fanmirror("wait", "--socket", self.socket, "--timeout", f"{int(timeout)}s", *argv)
        if result.returncode != 0:
            raise AssertionError(f"wait exits with {result.returncode}: {result.stderr.strip()}\n"
                                 f"status: {self.status_text()}\nlog:\n{self.log()}")

    def status_text(self):
        return fanmirror("status", "--json", "--socket", self.socket).stdout

    def status(self):
        result = fanmirror("status", "--json", "--socket", self.socket)
        if result.returncode != 0:
            raise AssertionError(f"status: {result.stderr}\nlog:\n{self.log()}")
        return json.loads(result.stdout)

    def job(self, name=None):
        jobs = self.status()["jobs"]
        return next(job for job in jobs if name is None or job["name"] == name)

    def target(self, job=None, name=None):
        return next(t for t in self.job(job)["targets"] if name is None or t["name"] == name)

    def wire_bytes(self):
        return self.target()["wire_bytes_sent"]

    def receivers(self):
        """Process ids of the receivers of local targets, which are children of the daemon."""
        return children(self.process.pid)
