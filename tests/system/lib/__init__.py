"""What the system tests share: real filesystems, a real sshd, the program under test, and a judge."""
