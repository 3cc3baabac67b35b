#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's guest agent in a Debian guest, driven by virsh; and an agent that lies, hangs and floods."""
import os
import shutil
import sys

import event_loop
import libvirt

from private import Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

XML = """<domain type='qemu'><name>agent</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{image}/vmlinuz</kernel>
<initrd>{image}/initrd.img</initrd>
<cmdline>root=LABEL=root rw console=ttyS0 quiet systemd.mask=ssh.service</cmdline></os>
<features><acpi/></features>
<devices><disk type='file'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{disk}'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='raw'/><source file='{tar}'/><target dev='vdb' bus='virtio'/>
<readonly/></disk>
<interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/></interface>
<channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<channel type='unix'><target type='virtio' name='org.berth.talk'/></channel>
<serial type='pty'/><console type='pty'/></devices></domain>"""
PORT = "/dev/virtio-ports/org.qemu.guest_agent.0"
COVERS = """DOMAIN_AGENT_SET_RESPONSE_TIMEOUT DOMAIN_FSFREEZE DOMAIN_FSTHAW
DOMAIN_FSTRIM DOMAIN_GET_TIME DOMAIN_SET_TIME DOMAIN_SET_USER_PASSWORD DOMAIN_AUTHORIZED_SSH_KEYS_GET
DOMAIN_AUTHORIZED_SSH_KEYS_SET DOMAIN_GET_HOSTNAME DOMAIN_GET_GUEST_INFO DOMAIN_GET_FSINFO
DOMAIN_GET_GUEST_VCPUS DOMAIN_SET_GUEST_VCPUS DOMAIN_INTERFACE_ADDRESSES DOMAIN_REBOOT
DOMAIN_SHUTDOWN_FLAGS DOMAIN_PM_SUSPEND_FOR_DURATION DOMAIN_PM_WAKEUP DOMAIN_OPEN_CHANNEL"""


class Lifecycle:
    """The agent's comings and goings, as a client of libvirt hears of them."""

    def __init__(self, daemon):
        event_loop.begin()
        self.seen = []
        self.conn = libvirt.open(daemon.uri())
        self.conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
                                         lambda conn, dom, state, reason, _: self.seen.append(state), None)

def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def check_files(daemon, guest):
    info = daemon.said("domfsinfo", "agent")
    assert "ext4" in info and "vda" in info, info
    assert "Froze 1 filesystem" in daemon.said("domfsfreeze", "agent")
    assert '"frozen"' in daemon.said("qemu-agent-command", "agent", '{"execute":"guest-fsfreeze-status"}')
    assert "Thawed 1 filesystem" in daemon.said("domfsthaw", "agent")
    assert "Froze 1 filesystem" in daemon.said("domfsfreeze", "agent", "--mountpoint", "/")
    daemon.virsh("domfsthaw", "agent")
    fails(daemon, "must be UTF-8", "domfsfreeze", "agent", "--mountpoint", "/", "--mountpoint", "/\udcff")
    daemon.virsh("domfstrim", "agent")
    # Frozen for a moment, and thawed.
    daemon.virsh("checkpoint-create-as", "agent", "c1", "--quiesce", "--diskspec", "vdb,checkpoint=no")
    daemon.virsh("checkpoint-delete", "agent", "c1")
    daemon.virsh("snapshot-create-as", "agent", "s1", "--disk-only", "--quiesce", "--no-metadata", "--diskspec",
                 "vdb,snapshot=no")
    assert '"thawed"' in daemon.said("qemu-agent-command", "agent", '{"execute":"guest-fsfreeze-status"}')
    with open(daemon.log) as log:
        assert "still frozen" not in log.read()


def check_info(daemon):
    info = daemon.said("guestinfo", "agent")
    for text in ("os.id              : debian", "hostname            : berth", "fs.0.disk.0.alias",
                 "disk.count", "if.1.hwaddr         : 52:54:00:12:34:56", "user.count",
                 "timezone.offset"):
        assert " ".join(text.split()) in " ".join(info.split()), f"{text}: {info}"
    assert daemon.said("guestinfo", "agent", "--hostname").split()[-1] == "berth"
    assert daemon.said("domhostname", "agent") == "berth"
    address = daemon.said("domifaddr", "agent", "--source", "agent")
    assert "10.0.2.15/24" in address and "127.0.0.1/8" in address, address


def check_changes(daemon, guest):
    daemon.virsh("domtime", "agent", "--time", "1700000000")
    assert int(guest.run("date +%s", 60)) - 1700000000 < 120
    assert int(daemon.said("domtime", "agent").split()[-1]) - 1700000000 < 120
    # The board's clock was set, too, and is right when the guest's own is not.
    guest.run("date -s @1600000000", 60)
    daemon.virsh("domtime", "agent", "--sync")
    assert int(daemon.said("domtime", "agent").split()[-1]) >= 1700000000
    daemon.virsh("set-user-password", "agent", "root", "not berth")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJlcnRo somebody"
    path = os.path.join(daemon.top, "key")
    with open(path, "w") as file:
        file.write(key + "\n")
    daemon.virsh("set-user-sshkeys", "agent", "root", "--file", path)
    assert key in daemon.said("get-user-sshkeys", "agent", "root")
    daemon.virsh("set-user-sshkeys", "agent", "root", "--file", path, "--remove")
    assert key not in daemon.said("get-user-sshkeys", "agent", "root")
    assert "online         : 0-1" in daemon.said("guestvcpus", "agent")
    daemon.virsh("guestvcpus", "agent", "--disable", "--cpulist", "1")
    assert guest.run("cat /sys/devices/system/cpu/online", 60).strip() == "0"
    assert daemon.said("vcpucount", "agent", "--guest") == "1"
    # The agent does what it can and says how much that was: a part is no success.
    fails(daemon, "has changed 1 of its vCPUs, not the 2", "guestvcpus", "agent", "--enable", "--cpulist", "1,7")
    fails(daemon, "a guest's CPUs are 0 to 2047", "guestvcpus", "agent", "--enable", "--cpulist", "1,3000")
    daemon.virsh("guestvcpus", "agent", "--enable", "--cpulist", "1")
    assert daemon.said("vcpucount", "agent", "--guest", "--live") == "2"
    daemon.virsh("setvcpus", "agent", "1", "--guest")
    assert guest.run("cat /sys/devices/system/cpu/online", 60).strip() == "0"
    daemon.virsh("setvcpus", "agent", "2", "--guest")
    assert guest.run("cat /sys/devices/system/cpu/online", 60).strip() == "0-1"
    fails(daemon, "greater than max allowable", "setvcpus", "agent", "3", "--guest")


def check_sleep(daemon, guest):
    """The agent sends the guest to sleep, in which it is found, and virsh wakes it."""
    fails(daemon, "Duration not supported", "dompmsuspend", "agent", "mem", "--duration", "60")
    daemon.virsh("dompmsuspend", "agent", "mem")
    daemon.wait(lambda: daemon.said("domstate", "agent") == "pmsuspended", "it sleeps")
    daemon.virsh("dompmwakeup", "agent")
    daemon.wait(lambda: daemon.said("domstate", "agent", "--reason") == "running (event wakeup)", "it is awake")
    # What is typed before its serial port is awake is lost.
    guest.wake(120)


def console(daemon):
    return testlib.Guest(["script", "-qfec", f"virsh -c '{daemon.uri()}' console agent --force", "/dev/null"])


def check_channel(guest, conn):
    """A channel's other end is a client's stream, one at a time; the agent's own channel is nobody's."""
    dom = conn.lookupByName("agent")
    streams = [conn.newStream() for _ in range(3)]
    dom.openChannel("org.berth.talk", streams[0], 0)
    for stream, name, cause in ((streams[1], "channel1", "Active channel stream exists for this domain"),
                                (streams[1], "org.qemu.guest_agent.0", "link to the guest agent"),
                                (streams[1], "nothing", "cannot find channel nothing")):
        try:
            dom.openChannel(name, stream, 0)
        except libvirt.libvirtError as error:
            assert cause in str(error), error
        else:
            raise AssertionError(f"{name} was opened")
    for stream in streams[0], streams[2]:
        if stream != streams[0]:
            dom.openChannel("org.berth.talk", stream, libvirt.VIR_DOMAIN_CHANNEL_FORCE)
        stream.send(b"hello\n")
        guest.run("exec 4<>/dev/virtio-ports/org.berth.talk; read -r line <&4; echo \"back $line\" >&4; "
                  "exec 4>&-", 60)
        assert stream.recv(100) == b"back hello\n"
    streams[2].finish()


def hold_port(daemon, guest):
    """Something has the port open and never answers."""
    daemon.virsh("guest-agent-timeout", "agent", "--timeout", "2")
    guest.run(f"pkill qemu-ga; sleep 1; (sleep 1000 <>{PORT} >/dev/null 2>&1 &) ; sleep 1", 60)
    daemon.wait(lambda: "state='connected'" in daemon.said("dumpxml", "agent"), "the port is open")
    fails(daemon, "Guest agent is not responding: guest agent didn't respond to synchronization",
          "domtime", "agent")


def check_lies(daemon, guest):
    """Whatever writes to the port is the guest, and the daemon stands it."""
    daemon.virsh("guest-agent-timeout", "agent", "--timeout", "1")
    guest.run("pkill sleep; sleep 1; cat >/tmp/liar.sh <<'END'\n" + LIAR + "END\n"
              "(sh /tmp/liar.sh >/dev/null 2>&1 &); sleep 2", 60)
    daemon.wait(lambda: "state='connected'" in daemon.said("dumpxml", "agent"), "the port is open again")
    for command in (["domtime"], ["domfsinfo"], ["guestvcpus"], ["domifaddr", "--source", "agent"],
                    ["guestinfo"], ["domhostname"], ["domfsfreeze"]):
        daemon.virsh(command[0], "agent", *command[1:], check=False)
    assert daemon.said("domstate", "agent") == "running"
    guest.run("pkill -f liar.sh; sleep 1", 60)


# Answers every sync, and everything else with what no client asked for; now and then floods.
LIAR = """exec 3<>/dev/virtio-ports/org.qemu.guest_agent.0
n=0
while :; do read -r line <&3 || { sleep 1; continue; }
id=$(echo "$line" | sed -n 's/.*"id": *\\([0-9]*\\).*/\\1/p')
n=$((n + 1))
if [ -n "$id" ]; then printf '\\377{"return": %s}\\n' "$id" >&3
elif [ $((n % 4)) = 0 ]; then head -c 11000000 /dev/zero | tr '\\0' '[' >&3; echo >&3
else echo 'no JSON {{{' >&3; echo '{"return": [{"name": 7, "disk": [1, "x"], "logical-id": -5}, [], null, 3e400]}' >&3
echo '{"return": [{"name": 7, "disk": [1, "x"], "logical-id": -5}, [], null]}' >&3; fi
done
"""


def check_end(daemon, guest):
    """The guest reboots and powers off by its agent's hand."""
    guest.run("qemu-ga -d && sleep 1", 60)
    daemon.wait(lambda: daemon.virsh("qemu-agent-command", "agent", '{"execute":"guest-ping"}',
                                     check=False).returncode == 0, "the agent answers again")
    daemon.virsh("reboot", "agent", "--mode", "agent")
    daemon.wait(lambda: "state='disconnected'" in daemon.said("dumpxml", "agent"), "the agent has ended")
    guest.expect("login: ", 200)
    guest.send("root\n")
    guest.expect("Password: ", 60)
    guest.send("not berth\n")
    guest.expect(r"root@berth:~# ", 120)
    guest.send("stty -echo; PS1=\n")
    # Until then systemd may refuse to shut down.
    guest.run("systemctl is-system-running --wait >/dev/null; qemu-ga -d && sleep 1", 120)
    daemon.wait(lambda: daemon.virsh("domtime", "agent", check=False).returncode == 0, "the agent is there")
    daemon.virsh("shutdown", "agent", "--mode", "agent")
    daemon.wait(lambda: daemon.said("domstate", "agent", "--reason") == "shut off (shutdown)", "shut off")


def main():
    image = testlib.debian_image()
    with Daemon() as daemon:
        disk, tar = os.path.join(daemon.top, "d.qcow2"), os.path.join(daemon.top, "agent.raw")
        shutil.copy(testlib.guest_agent(), tar)
        os.truncate(tar, (os.path.getsize(tar) + 511) // 512 * 512)
        daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                   os.path.join(image, "debian-12.img"), disk)
        events = Lifecycle(daemon)
        path = os.path.join(daemon.top, "agent.xml")
        with open(path, "w") as file:
            file.write(XML.format(image=image, disk=disk, tar=tar))
        daemon.virsh("define", path)
        daemon.virsh("start", "agent")
        fails(daemon, "QEMU guest agent is not connected", "domtime", "agent")
        with console(daemon) as guest:
            guest.login(300)
            guest.run("tar -xf /dev/vdb -C / && ldconfig && mkdir -p /run && qemu-ga -d && sleep 1", 120)
            daemon.wait(lambda: "state='connected'" in daemon.said("dumpxml", "agent"), "the agent is there")
            assert daemon.said("qemu-agent-command", "agent", '{"execute":"guest-ping"}') == '{"return":{}}'
            fails(daemon, "unable to execute QEMU agent command 'guest-fly'", "qemu-agent-command", "agent",
                  '{"execute":"guest-fly"}')
            check_files(daemon, guest)
            check_info(daemon)
            check_changes(daemon, guest)
            check_channel(guest, events.conn)
            check_sleep(daemon, guest)
            hold_port(daemon, guest)
        # Sleep closes the port, too.
        assert events.seen == [1, 2, 1, 2, 1], events.seen
        # The daemon that comes after knows the limit, and that the port is open.
        daemon.stop()
        daemon.start()
        fails(daemon, "Guest agent is not responding", "domhostname", "agent")
        with console(daemon) as guest:
            guest.expect("Escape character is .*\n", 60)
            guest.wake(60)
            check_lies(daemon, guest)
            check_end(daemon, guest)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
