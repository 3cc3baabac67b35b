#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Network cards other than virtio, and their ROMs: berthd gives the VMM what Debian's libvirtd gives QEMU, a
running guest's stock drivers take the cards, and a card comes, loses its link and goes while it runs."""
import json
import os
import shlex
import sys

import ether
from private import Daemon
from real_libvirtd import Libvirtd

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

COVERS = """
CONNECT_DOMAIN_XML_TO_NATIVE DOMAIN_ATTACH_DEVICE DOMAIN_DETACH_DEVICE DOMAIN_UPDATE_DEVICE_FLAGS
"""
MODELS = {"e1000": "e1000", "e1000e": "e1000e", "rtl8139": "8139cp"}
DOMAIN = """<domain type='qemu'><name>cards</name><memory unit='MiB'>256</memory>
  <os><type arch='x86_64' machine='{machine}'>hvm</type>{boot}</os>
  <features><acpi/><apic/></features><devices>{cards}<memballoon model='none'/>
  <serial type='pty'/><console type='pty'/></devices></domain>"""
CARD = """<interface type='user'><mac address='52:54:00:00:01:{n:02x}'/><model type='{model}'/>{more}
</interface>"""
# What a card's ROM may be, and its place in the boot order; libvirt's command line of a start has these
# properties for it, and its domxml-to-native forgets them.
MORE = {"": {}, "<boot order='3'/>": {"bootindex": 3}, "<rom enabled='no'/>": {"romfile": ""},
        "<rom bar='off'/>": {"rombar": False},
        "<rom bar='on' file='/r.rom'/>": {"rombar": True, "romfile": "/r.rom"}}
WHAT_COUNTS = ("driver", "mac", "bootindex", "rombar", "romfile")


def document(cards, machine="q35", boot=""):
    return DOMAIN.format(cards=cards, machine=machine, boot=boot)


def write(daemon, xml):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(xml)
    return path


def cards_of(native):
    """What counts of the network cards on a command line."""
    words = shlex.split(native.replace("\\\n", " "))
    devices = [json.loads(value) for option, value in zip(words, words[1:])
               if option == "-device" and value.startswith("{")]
    return [{key: device[key] for key in WHAT_COUNTS if key in device} for device in devices
            if "mac" in device]


def check_native(daemon):
    with Libvirtd() as real:
        for model in ("virtio", *MODELS):
            for more, properties in MORE.items():
                card = CARD.format(n=1, model=model, more=more)
                path = write(daemon, document(card))
                ours = cards_of(daemon.said("domxml-to-native", "qemu-argv", path))
                (theirs,) = cards_of(real.virsh("domxml-to-native", "qemu-argv", path).stdout)
                assert ours == [theirs | properties], f"{card}: {ours}\nlibvirt: {theirs}"


def check_document(daemon):
    daemon.virsh("define", write(daemon, document(CARD.format(n=1, model="e1000e", more=list(MORE)[-1]))))
    kept = daemon.said("dumpxml", "cards")
    assert "<model type='e1000e'/>" in kept and "<rom bar='on' file='/r.rom'/>" in kept, kept
    daemon.virsh("undefine", "cards")
    for more, machine, words in (
            ("<driver name='vhost'/>", "q35", "for <model type='virtio'>"),
            ("<driver queues='2'/>", "q35", "for <model type='virtio'>"),
            ("<rom enabled='no' bar='on'/>", "q35", "ROM is disabled"),
            ("<rom bar='off' file='/r.rom'/>", "q35", "goes with bar='on'"),
            ("<rom file='r.rom'/>", "q35", "absolute path"), ("", "microvm", "has no PCI")):
        card = CARD.format(n=1, model="e1000e", more=more).replace("'user'", "'ethernet'")
        result = daemon.virsh("define", write(daemon, document(card, machine)), check=False)
        assert result.returncode and words in result.stdout, result.stdout
    card = CARD.format(n=1, model="ne2k_pci", more="")
    result = daemon.virsh("define", write(daemon, document(card)), check=False)
    assert result.returncode and "e1000e" in result.stdout, result.stdout


def check_link(guest, name, carrier):
    guest.run(f"n=0; until [ $(cat /sys/class/net/{name}/carrier) = {carrier} ] || [ $n = 100 ]; do "
              f"n=$((n + 1)); usleep 100000; done; [ $(cat /sys/class/net/{name}/carrier) = {carrier} ]", 60)


def check_guest(daemon):
    kernel, initrd = testlib.kernel("generic")
    modules = ",".join(["virtio_pci", *MODELS.values(), "button", "af_packet"])
    boot = (f"<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>console=ttyS0 quiet panic=-1 "
            f"berth.modules={modules}</cmdline>")
    cards = "".join(CARD.format(n=n, model=model, more="") for n, model in enumerate(MODELS))
    daemon.virsh("define", write(daemon, document(cards, boot=boot)))
    daemon.virsh("start", "cards")
    script = ["script", "-qfec", f"virsh -c '{daemon.uri()}' console cards --force", "/dev/null"]
    with testlib.Guest(script) as guest:
        guest.wake(300)
        guest.run("stty -echo", 60)
        for n, driver in enumerate(MODELS.values()):
            name = guest.run(f"grep -l 52:54:00:00:01:{n:02x} /sys/class/net/*/address", 60).split("/")[-2]
            assert f"/{driver}\n" in guest.run(f"readlink /sys/class/net/{name}/device/driver", 60)
            guest.run(f"ip link set {name} up && udhcpc -n -q -i {name} -s /bin/true", 120)
        hot = CARD.format(n=0x77, model="e1000e", more="")
        daemon.virsh("attach-device", "cards", write(daemon, hot))
        name = f"eth{len(MODELS)}"
        guest.run(f"n=0; until [ -e /sys/class/net/{name} ] || [ $n = 300 ]; do n=$((n + 1)); "
                  f"usleep 100000; done; ip link set {name} up", 120)
        check_link(guest, name, 1)
        daemon.virsh("domif-setlink", "cards", "52:54:00:00:01:77", "down")
        check_link(guest, name, 0)
        other = daemon.virsh("update-device", "cards", write(daemon, hot.replace("e1000e", "e1000")),
                             check=False).stdout
        assert "only the link state" in other, other
        daemon.virsh("detach-device", "cards", write(daemon, hot))
        guest.run(f"n=0; while [ -e /sys/class/net/{name} ] && [ $n -lt 100 ]; do n=$((n + 1)); "
                  f"usleep 100000; done; [ ! -e /sys/class/net/{name} ]", 60)
    daemon.virsh("destroy", "cards")


def main():
    testlib.kernel("generic")  # before the network is one's own
    ether.own_network()
    with Daemon() as daemon:
        check_document(daemon)
        check_native(daemon)
        check_guest(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, missing


main()
