# SPDX-License-Identifier: GPL-2.0-or-later
"""A server's image as the disk of a domain: what virsh copies out of the running machine is what is there."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../libvirt"))
from private import Daemon  # noqa: E402

XML = """<domain type='qemu'><name>far</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='network'><driver name='qemu' type='{image}'/>{source}
<target dev='vda' bus='virtio'/>{readonly}</disk></devices></domain>"""


def check_domain(source, behind, image="raw", readonly=False):
    """`source` is the <source> of a disk; `behind` is a file with the same bytes."""
    with Daemon(quiet=True) as daemon:
        xml, copy = os.path.join(daemon.top, "far.xml"), os.path.join(daemon.top, "copy.raw")
        with open(xml, "w") as file:
            file.write(XML.format(image=image, source=source, readonly="<readonly/>" if readonly else ""))
        daemon.virsh("create", xml)
        daemon.virsh("blockcopy", "far", "vda", copy, "--format", "raw", "--transient-job", "--wait",
                     "--finish")
        daemon.virsh("destroy", "far")
        daemon.run("qemu-img", "compare", "-q", "-f", image, "-F", "raw", behind, copy)
