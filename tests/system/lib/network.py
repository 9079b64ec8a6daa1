"""Networks of their own: near, where the caller goes on, a router, and far. Nothing of them outlives the test."""

import ctypes
import os
import subprocess

from lib.host import die_with_parent, libc, run

CLONE_NEWNET = 0x40000000
NEAR, ROUTER_NEAR = "10.231.1.1", "10.231.1.254"
FAR, ROUTER_FAR = "10.231.2.1", "10.231.2.254"


class Namespace:
    """Lives as long as the process that holds it."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                       stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.holder.stdout.readline()  # it is in its namespace
        self.prefix = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]

    def run(self, *argv):
        return run(*self.prefix, *argv)

    def bring_up(self, link, address):
        self.run("ip", "address", "add", address + "/24", "dev", link)
        for each in (link, "lo"):
            self.run("ip", "link", "set", each, "up")

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Network:
    """The caller must not have started a thread: it is moved into a namespace of its own."""

    def __init__(self):
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        self.router, self.far = Namespace(), Namespace()
        run("ip", "link", "add", "near0", "type", "veth", "peer", "name", "router0", "netns", str(self.router.holder.pid))
        self.router.run("ip", "link", "add", "router1", "type", "veth", "peer", "name", "far0", "netns",
                        str(self.far.holder.pid))
        run("ip", "address", "add", NEAR + "/24", "dev", "near0")
        self.router.bring_up("router0", ROUTER_NEAR)
        self.router.bring_up("router1", ROUTER_FAR)
        self.far.bring_up("far0", FAR)
        self.far.run("ip", "route", "add", "default", "via", ROUTER_FAR)
        run("ip", "link", "set", "lo", "up")
        self.link_up()
        self.forward(True)

    def link_down(self):
        """The cable of this host is pulled: the kernel has no route any more."""
        run("ip", "link", "set", "near0", "down")

    def link_up(self):
        run("ip", "link", "set", "near0", "up")
        run("ip", "route", "add", "default", "via", ROUTER_NEAR)

    def forward(self, on):
        """Without it the router loses each packet, and tells nobody."""
        self.router.run("sh", "-c", f"echo {int(on)} > /proc/sys/net/ipv4/ip_forward")

    def close(self):
        self.router.close()
        self.far.close()
