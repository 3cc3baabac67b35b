#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps VMs apart: rights that a VMM gives up, images that only one may write, owners of images."""
import json
import os
import signal
import subprocess

import libvirt
from private import BERTHD, LIMIT, Daemon

COVERS = """
DOMAIN_GET_SECURITY_LABEL DOMAIN_GET_SECURITY_LABEL_LIST DOMAIN_GET_LAUNCH_SECURITY_INFO
"""
XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>{extra}<devices>{devices}</devices></domain>"""
DISK = ("<disk type='file' device='{device}'><driver name='qemu' type='raw'/><source file='{path}'/>"
        "<target dev='{target}' bus='{bus}'/>{extra}</disk>")


def disk(path, target="vda", device="disk", bus="virtio", extra=""):
    return DISK.format(path=path, target=target, device=device, bus=bus, extra=extra)


def make(daemon, name, size=1 << 20):
    path = os.path.join(daemon.top, name)
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def define(daemon, name, devices="", extra=""):
    path = os.path.join(daemon.top, f"{name}.xml")
    with open(path, "w") as file:
        file.write(XML.format(name=name, devices=devices, extra=extra))
    daemon.virsh("define", path)


def fails(daemon, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0, f"{args} should fail: {result.stdout}"
    return result.stdout


def process_status(daemon, name):
    """The fields of /proc/PID/status of a domain's VMM."""
    uuid = daemon.said("domuuid", name)
    with open(os.path.join(daemon.top, "state", "run", uuid, "pid")) as file:
        pid = int(file.read())
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":", 1) for line in file)


def check_rights(daemon):
    define(daemon, "confined")
    daemon.virsh("start", "confined")
    status = process_status(daemon, "confined")
    assert int(status["Seccomp"]) == 2, "a seccomp filter is on"
    assert int(status["NoNewPrivs"]) == 1, "no program gives it new rights"
    daemon.virsh("destroy", "confined")
    daemon.virsh("undefine", "confined")


def check_lock(daemon):
    """The second name of an image is still the same image."""
    image = make(daemon, "shared.img")
    other = os.path.join(daemon.top, "other.img")
    os.symlink(image, other)
    define(daemon, "first", disk(image))
    define(daemon, "second", disk(other))
    daemon.virsh("start", "first")
    output = fails(daemon, "start", "second")
    assert f"'{other}'" in output and "in use" in output and "domain 'first'" in output, output
    assert daemon.said("domstate", "first") == "running"
    daemon.virsh("destroy", "first")
    daemon.virsh("start", "second")
    daemon.virsh("destroy", "second")
    for name in ("first", "second"):
        daemon.virsh("undefine", name)


def check_cpu(daemon):
    """check='full': the guest gets all features or does not start."""
    model = "<cpu mode='custom' match='exact' check='{}'><model>EPYC</model></cpu>"
    define(daemon, "strict", extra=model.format("full"))
    output = fails(daemon, "start", "strict")
    assert "-cpu EPYC" in output and "misalignsse" in output, output
    for check in ("none", "partial"):
        define(daemon, "lax", extra=model.format(check))
        daemon.virsh("start", "lax")
        daemon.virsh("destroy", "lax")
        daemon.virsh("undefine", "lax")
    daemon.virsh("undefine", "strict")


def check_volume_label(daemon):
    folder = os.path.join(daemon.top, "pool")
    os.mkdir(folder)
    daemon.virsh("pool-create-as", "p", "dir", "--target", folder)
    path = os.path.join(daemon.top, "volume.xml")
    text = ("<volume><name>v</name><capacity>65536</capacity><target><permissions>{}<mode>0640</mode>"
            "<owner>{}</owner></permissions></target></volume>")
    with open(path, "w") as file:
        file.write(text.format("<label>virt_image_t</label>", os.getuid()))
    output = fails(daemon, "vol-create", "p", path)
    assert "<label>" in output and not os.path.exists(os.path.join(folder, "v")), output
    with open(path, "w") as file:
        file.write(text.format("", os.getuid()))
    daemon.virsh("vol-create", "p", path)
    status = os.stat(os.path.join(folder, "v"))
    assert status.st_mode & 0o777 == 0o640 and status.st_uid == os.getuid()


# --- Owners of images ------------------------------------------------------------------------

USER = 65534  # of no files but those that a test gives it
# What libvirtd 9.0 puts on the image of a domain that runs.
OWNER = "trusted.libvirt.security.dac"
COUNT = "trusted.libvirt.security.ref_dac"
BOOT = "trusted.libvirt.security.timestamp_dac"


def settings(**keys):
    """For Daemon: a berthd.conf with these keys."""
    def prepare(daemon):
        os.chmod(daemon.top, 0o711)
        with open(os.path.join(daemon.top, "berthd.conf"), "w") as file:
            file.writelines(f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n"
                            for key, value in keys.items())
        daemon.arguments = ["--config", os.path.join(daemon.top, "berthd.conf")]
    return prepare


def owner(path):
    status = os.stat(path)
    return status.st_uid, status.st_gid


def attribute(path, name):
    try:
        return os.getxattr(path, name).decode()
    except OSError:
        return None


def make_owned(daemon, name, uid, gid):
    path = make(daemon, name)
    os.chown(path, uid, gid)
    os.chmod(path, 0o600)
    return path


def check_owner(daemon):
    """While it runs all that the VMM opens is its user's; then each is again whose it was."""
    image, kernel = make_owned(daemon, "own.img", 1001, 1002), make_owned(daemon, "initrd", 1003, 1004)
    read_only, shared = make_owned(daemon, "ro.img", 1005, 1005), make_owned(daemon, "sh.img", 1006, 1006)
    log = make_owned(daemon, "serial.log", 1007, 1007)
    define(daemon, "owned", disk(image) + disk(read_only, "vdb", extra="<readonly/>") +
           disk(shared, "vdc", extra="<shareable/>") +
           f"<serial type='file'><source path='{log}'/></serial>", "<features><acpi/></features>")
    daemon.virsh("start", "owned")
    status = process_status(daemon, "owned")
    assert status["Uid"].split() == [str(USER)] * 4 and status["Gid"].split() == [str(USER)] * 4, status
    assert int(status["CapEff"], 16) == 0 and int(status["Seccomp"]) == 2, status
    for path in (image, read_only, shared, log):
        assert owner(path) == (USER, USER), path
    assert attribute(image, OWNER) == "+1001:+1002" and attribute(image, COUNT) == "1"
    assert attribute(shared, COUNT) is None and attribute(read_only, COUNT) is None
    hotplug(daemon, kernel)
    daemon.virsh("destroy", "owned")
    assert owner(image) == (1001, 1002) and owner(log) == (1007, 1007)
    assert f"<baselabel type='kvm'>+{USER}:+{USER}</baselabel>" in daemon.said("capabilities")
    assert attribute(image, OWNER) is None and attribute(image, COUNT) is None
    # As with libvirt: somebody else may use what is read only or shared.
    assert owner(read_only) == owner(shared) == (USER, USER)
    assert owner(kernel) == (1003, 1004)


def check_nvram(daemon):
    """The file of UEFI variables, which the daemon has made, is the VMM's while it runs."""
    code, template = make(daemon, "code.fd", 1 << 17), make(daemon, "vars.fd", 1 << 16)
    variables = os.path.join(daemon.top, "state", "nvram")
    path = os.path.join(daemon.top, "uefi.xml")
    with open(path, "w") as file:
        file.write(XML.format(name="uefi", devices="", extra="").replace(
            "</os>", f"<loader readonly='yes' type='pflash'>{code}</loader><nvram template='{template}'/></os>"))
    daemon.virsh("define", path)
    daemon.virsh("start", "uefi")
    (name,) = os.listdir(variables)
    assert owner(os.path.join(variables, name)) == (USER, USER)
    daemon.virsh("destroy", "uefi")
    assert owner(os.path.join(variables, name)) == (0, 0)
    daemon.virsh("undefine", "uefi", "--nvram")


def hotplug(daemon, image):
    path = os.path.join(daemon.top, "disk.xml")
    with open(path, "w") as file:
        file.write(disk(image, "vdd"))
    before = owner(image)
    daemon.virsh("attach-device", "owned", path, "--live")
    assert owner(image) == (USER, USER), "what is plugged in is the VMM's"
    with open(path, "w") as file:
        file.write(disk("/nowhere/no.img", "vde"))
    fails(daemon, "attach-device", "owned", path, "--live")
    assert before != owner(image), "a change that fails takes nothing away"


def check_count(daemon):
    """The first start counts; one that fails at the lock does not take the image away."""
    image = make_owned(daemon, "counted.img", 1001, 1002)
    for name in ("first", "second"):
        define(daemon, name, disk(image))
    daemon.virsh("start", "first")
    assert "domain 'first'" in fails(daemon, "start", "second")
    assert owner(image) == (USER, USER) and attribute(image, COUNT) == "1"
    daemon.virsh("destroy", "first")
    assert owner(image) == (1001, 1002) and attribute(image, COUNT) is None


def boot_time():
    with open("/proc/stat") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime "))


def mark(path, owner_text, count, boot):
    for name, value in ((OWNER, owner_text), (COUNT, count), (BOOT, boot)):
        os.setxattr(path, name, str(value).encode())


def check_others(daemon):
    """What another daemon counts is not taken from it, unless the host has started anew since."""
    image = make_owned(daemon, "others.img", USER, USER)
    define(daemon, "others", disk(image))
    mark(image, "+1001:+1002", 1, boot_time())
    daemon.virsh("start", "others")
    assert attribute(image, COUNT) == "2" and attribute(image, OWNER) == "+1001:+1002"
    daemon.virsh("destroy", "others")
    assert attribute(image, COUNT) == "1" and owner(image) == (USER, USER)
    os.chown(image, 1003, 1003)
    assert "already in use" in fails(daemon, "start", "others")
    assert attribute(image, COUNT) == "1" and owner(image) == (1003, 1003)
    mark(image, "+1001:+1002", "many", boot_time())
    assert "'many', which is no count" in fails(daemon, "start", "others")
    mark(image, "+1001:+1002", 3, boot_time() - 1000)
    daemon.virsh("start", "others")
    assert attribute(image, COUNT) == "1" and attribute(image, OWNER) == "+1003:+1003"
    daemon.virsh("destroy", "others")
    assert owner(image) == (1003, 1003) and attribute(image, BOOT) is None


def check_chain(daemon):
    """The image below is the VMM's as well, but what a raw image says of itself is not believed."""
    base, secret = make_owned(daemon, "base.img", 1001, 1002), make_owned(daemon, "secret", 0, 0)
    top, fake = os.path.join(daemon.top, "top.qcow2"), os.path.join(daemon.top, "fake.img")
    for below, image in ((base, top), (secret, fake)):
        daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "raw", image)
    define(daemon, "chain", disk(top).replace("'raw'", "'qcow2'") + disk(fake, "vdb"))
    daemon.virsh("start", "chain")
    assert owner(base) == (USER, USER) and owner(top) == (USER, USER) and owner(secret) == (0, 0)
    daemon.virsh("destroy", "chain")
    assert owner(top) == (0, 0) and attribute(base, COUNT) is None


def check_new_images(daemon):
    """A snapshot and a copy are made where the VMM's user may not write, and work at the next start."""
    folder = os.path.join(daemon.top, "images")
    os.mkdir(folder, 0o711)
    first, second, copy, last = (os.path.join(folder, name) for name in ("first", "second", "copy", "last"))
    daemon.run("qemu-img", "create", "-q", "-f", "qcow2", first, "1M")
    define(daemon, "grows", disk(first).replace("'raw'", "'qcow2'") + disk(make(daemon, "other"), "vdb"))
    daemon.virsh("start", "grows")
    snapshot = ["snapshot-create-as", "grows", "--disk-only", "--no-metadata", "--diskspec"]
    daemon.virsh(*snapshot, f"vda,file={second}", "--diskspec", "vdb,snapshot=no")
    assert owner(first) == owner(second) == (USER, USER)
    # What fails leaves nothing: a folder that is not there, a format that the VMM does not know.
    assert "/nowhere/x" in fails(daemon, *snapshot, f"vda,file={last}", "--diskspec", "vdb,file=/nowhere/x")
    assert not os.path.exists(last)
    assert "no-format" in fails(daemon, "blockcopy", "grows", "vda", last, "--format", "no-format")
    assert not os.path.exists(last)
    daemon.virsh("blockcopy", "grows", "vda", copy, "--wait", "--pivot", "--transient-job")
    assert owner(copy) == (USER, USER)
    daemon.wait(lambda: owner(second) == (0, 0), "what is left is given back")
    check_word(daemon, os.path.join(folder, "own"))
    daemon.virsh("destroy", "grows")
    assert {owner(path) for path in (first, second, copy)} == {(0, 0)}
    daemon.virsh("start", "grows")
    daemon.virsh("destroy", "grows")


def check_commit(daemon):
    """The image below, by a name that is relative to the upper one, becomes the disk's."""
    base, top = (os.path.join(daemon.top, name) for name in ("base.qcow2", "top.qcow2"))
    daemon.run("qemu-img", "create", "-q", "-f", "qcow2", base, "1M")
    daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", top)
    define(daemon, "sinks", disk(top).replace("'raw'", "'qcow2'"))
    daemon.virsh("start", "sinks")
    daemon.virsh("blockcommit", "sinks", "vda", "--active", "--wait", "--pivot")
    for kind in ((), ("--inactive",)):
        assert f"<source file='{base}'" in daemon.said("dumpxml", "sinks", *kind)
    daemon.virsh("destroy", "sinks")


def check_word(daemon, own):
    """A VMM that goes over to an image of its own choice does not get it into the documents."""
    def ask(command, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(daemon.said("qemu-monitor-command", "grows", text))
        return answer["return"]

    daemon.run("qemu-img", "create", "-q", "-f", "qcow2", own, "1M")
    os.chown(own, USER, USER)
    inserted = next(entry["inserted"] for entry in ask("query-block") if entry["qdev"] == "virtio-disk0")
    ask("drive-mirror", device=inserted["node-name"], target=own, sync="full", mode="existing", format="qcow2",
        **{"job-id": "copy-virtio-disk0"})
    daemon.wait(lambda: all(job["ready"] for job in ask("query-block-jobs")), "the copy is ready")
    ask("block-job-complete", device="copy-virtio-disk0")
    daemon.wait_log("which it was not given")
    for kind in ((), ("--inactive",)):
        assert own not in daemon.said("dumpxml", "grows", *kind)


def check_after_kill(daemon):
    """A later daemon gives back, whether the VM ends before it or after."""
    image = make_owned(daemon, "kept.img", 1001, 1002)
    define(daemon, "kept", disk(image))
    for while_away in (False, True):
        daemon.virsh("start", "kept")
        pid = int(process_status(daemon, "kept")["Pid"])
        daemon.stop(signal.SIGKILL)
        if while_away:
            os.kill(pid, signal.SIGKILL)
        daemon.start()
        if not while_away:
            assert owner(image) == (USER, USER) and daemon.said("domstate", "kept") == "running"
            daemon.virsh("destroy", "kept")
        assert owner(image) == (1001, 1002), f"given back (ended while away: {while_away})"


def check_vmm_killed(daemon):
    """The VMM's death, which nobody has asked for, gives back as well."""
    image = make_owned(daemon, "dies.img", 1001, 1002)
    define(daemon, "dies", disk(image))
    daemon.virsh("start", "dies")
    assert owner(image) == (USER, USER)
    os.kill(int(process_status(daemon, "dies")["Pid"]), signal.SIGKILL)
    daemon.wait(lambda: daemon.said("domstate", "dies") == "shut off", "its death is seen")
    assert owner(image) == (1001, 1002) and attribute(image, COUNT) is None


def check_not_remembered(daemon):
    image = make_owned(daemon, "plain.img", 1001, 1002)
    define(daemon, "plain", disk(image))
    daemon.virsh("start", "plain")
    assert owner(image) == (USER, USER) and attribute(image, OWNER) is None
    daemon.virsh("destroy", "plain")
    assert owner(image) == (0, 0), "as libvirt: root's, when nobody remembers"


def check_static(daemon):
    """With dynamic_ownership = 0 files stay whose they are, and the VMM must be able to open them."""
    image = make_owned(daemon, "static.img", 1001, 1002)
    define(daemon, "static", disk(image))
    output = fails(daemon, "start", "static")
    assert image in output and "Permission denied" in output and owner(image) == (1001, 1002), output
    os.chown(image, USER, USER)
    daemon.virsh("start", "static")
    daemon.virsh("destroy", "static")
    assert owner(image) == (USER, USER)


def check_labels(daemon, labels):
    """As libvirtd has them: the label of the model "none", and the user of a VMM that runs."""
    conn = libvirt.open(daemon.uri())
    for name, label in labels.items():
        dom = conn.lookupByName(name)
        assert dom.securityLabelList() == (label and [["", False], [label, False]]), dom.securityLabelList()
        assert dom.securityLabel() == ["", False] and dom.launchSecurityInfo() == {}
    for call, words in ((conn.getSEVInfo, "QEMU does not support SEV guest"),
                        (lambda: dom.setLaunchSecurityState({"sev-secret": "a", "sev-secret-header": "b"}),
                         "setting a launch secret is only supported in SEV-enabled domains")):
        try:
            call()
            raise AssertionError(f"not refused: {words}")
        except libvirt.libvirtError as error:
            assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED and words in str(error), error
    conn.close()


def check_own_user(daemon):
    """Two domains with users of their own, whatever that of berthd.conf is."""
    label = ("<clock offset='utc'><timer name='kvmclock' present='no'/></clock>"
             "<seclabel type='static' model='dac'{}><label>{}</label></seclabel>")
    image, static = make_owned(daemon, "mine.img", 1001, 1002), make_owned(daemon, "static.img", 2002, 2003)
    plugged = make_owned(daemon, "plugged.img", 1003, 1004)
    define(daemon, "mine", disk(image), "<features><acpi/></features>" +
           label.format(" relabel='yes'", "+2001:+2001"))
    define(daemon, "theirs", disk(static), label.format("", "+2002:+2003"))
    assert "model='dac' relabel='no'>" in daemon.said("dumpxml", "theirs")
    for name, user, group, path in (("mine", 2001, 2001, image), ("theirs", 2002, 2003, static)):
        daemon.virsh("start", name)
        status = process_status(daemon, name)
        assert status["Uid"].split() == [str(user)] * 4 and status["Gid"].split() == [str(group)] * 4, status
        assert owner(path) == (user, group)
    check_labels(daemon, {"mine": "+2001:+2001", "theirs": "+2002:+2003"})
    # What is plugged in is its user's too, and given back with the rest.
    daemon.virsh("attach-disk", "mine", plugged, "vdb", "--live")
    assert owner(plugged) == (2001, 2001)
    # A file cannot be two users' at a time.
    define(daemon, "rival", disk(image), label.format(" relabel='yes'", "+2004:+2004"))
    assert "already in use" in fails(daemon, "start", "rival") and owner(image) == (2001, 2001)
    # Nor by an image that names it as the one below; what was given before is given back.
    top = os.path.join(daemon.top, "thief.qcow2")
    daemon.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", image, "-F", "raw", top, "1M")
    define(daemon, "thief", disk(top).replace("'raw'", "'qcow2'"), label.format(" relabel='yes'", "+2004:+2004"))
    assert "already in use" in fails(daemon, "start", "thief") and owner(image) == (2001, 2001)
    assert owner(top) == (0, 0) and attribute(image, COUNT) == "1"
    for name in ("mine", "theirs"):
        daemon.virsh("destroy", name)
    check_labels(daemon, {"mine": []})
    assert owner(image) == (1001, 1002) and attribute(static, COUNT) is None
    assert owner(plugged) == (1003, 1004)
    define(daemon, "nobody", "", label.format("", "no-such-user:root"))
    assert "no user 'no-such-user'" in fails(daemon, "start", "nobody")


def check_settings(daemon):
    for key in ("user", "group"):
        path = os.path.join(daemon.top, "bad.conf")
        with open(path, "w") as file:
            file.write(f'{key} = "no-such-name"\n')
        result = subprocess.run([BERTHD, "--check-config", "--config", path], capture_output=True, text=True,
                                timeout=LIMIT)
        assert result.returncode != 0 and f"no {key} 'no-such-name'" in result.stderr, result.stderr


def check_owners():
    if os.getuid() != 0:
        print("only root can run VMMs as another user")
        return
    who = {"user": f"+{USER}", "group": f"+{USER}"}
    with Daemon(prepare=settings(**who)) as daemon:
        check_owner(daemon)
        check_nvram(daemon)
        check_count(daemon)
        check_others(daemon)
        check_chain(daemon)
        check_new_images(daemon)
        check_commit(daemon)
        check_after_kill(daemon)
        check_vmm_killed(daemon)
        check_settings(daemon)
    with Daemon(prepare=settings()) as daemon:
        check_own_user(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"
    with Daemon(prepare=settings(**who, remember_owner=0)) as daemon:
        check_not_remembered(daemon)
    with Daemon(prepare=settings(**who, dynamic_ownership=0)) as daemon:
        check_static(daemon)


def main():
    with Daemon() as daemon:
        check_rights(daemon)
        check_lock(daemon)
        check_cpu(daemon)
        check_volume_label(daemon)
    check_owners()


main()
