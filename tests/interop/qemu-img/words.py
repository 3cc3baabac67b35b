#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages and statuses that scripts rely on are qemu-img's, word for word."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

SAME = """
create
create -f
create -f foo x 1M
create -f vdi x
create -f vdi x 1Q
create -f vdi x 1M 2M
create -f vdi x 64E
create -f vdi x 99999999999999999999
create -f vdi x 8Ex
convert -O host_device a.raw new.raw
create -f host_device new.raw 1M
create -f host_device tiny.raw 1M
convert -O host_device a.raw tiny.raw
create -f raw file:made.raw 1M
create -f qcow2 file:made.qcow2 1M
compare -f raw -F qcow2 made.raw made.qcow2
check -f qcow2 made.qcow2
create -f vdi -o nothing=1 x 1M
create -f vdi -o size=3M x 4M
create -f vdi -o size=a x
create -f raw -b base.raw -F raw x 1M
create -f vdi /nonexistent/x 1M
create -f vdi new.vdi 3M
create -f qed new.qed 1.5M
create -f vpc -o subformat=fixed new.vpc 1M
create -f vhdx new.vhdx 20M
create -f vmdk -o subformat=twoGbMaxExtentSparse new.vmdk 5G
create -f qed -F qed x 1M
info
info -f foo a.vdi
info nope
info a.vdi b.vdi
info --output=xml a.vdi
info --strange a.vdi
info -Z a.vdi
info --image-opts -f raw a.vdi
info --image-opts driver=vdi,file.filename=a.vdi
info --image-opts --output=json file.filename=a.qed
info a.vdi
info --output=json a.qed
info a.vhdx
check nope
check a.raw
check --output=json a.raw
check -r some a.vdi
check a.vdi
check --output=json a.vdi
check a.qed
check --output=json a.qed
check -q a.qed
map a.vdi
map --output=json a.vdi
map --output=json --start-offset 1M --max-length 512k a.qed
map --start-offset foo a.vdi
compare a.vdi
compare a.vdi a.qed
compare -q a.vdi b.vdi
compare a.vdi b.vdi
compare -s a.vdi b.vdi
compare -s a.vdi small.vdi
compare a.vdi small.vdi
compare a.vdi nope
compare -f foo a.vdi a.qed
convert
convert a.vdi
convert -O foo a.vdi x
convert -O vdi nope x
convert -S 3 a.vdi x
convert -S foo a.vdi x
convert -m 0 a.vdi x
convert -m 17 a.vdi x
convert -c -O raw a.vdi x
convert -t foo a.vdi x
convert -T foo a.vdi x
convert -n -o static=on -O vdi a.vdi b.vdi
convert --target-is-zero -O vdi a.vdi x
convert -C -S 0 a.vdi x
convert -O vdi -o nothing=1 a.vdi x
convert -B base.raw -O vdi a.vdi x
convert --bitmaps -O vdi a.vdi x
convert -n -O vdi a.vdi nope
convert -n -O raw a.vdi tiny.raw
convert -O vdi a.vdi a.vdi
resize
resize a.qed
resize -f raw tiny.raw foo
resize -f raw tiny.raw 0
resize -f raw tiny.raw -- -512
resize --preallocation=foo a.qed 10M
resize -f raw tiny.raw +1k
resize a.qed 32M
snapshot
snapshot -l a.vdi
snapshot -a x -d y a.vdi
snapshot -c name a.vdi
commit a.vdi
commit
rebase a.vdi
rebase
measure
measure --size 10M
measure --size 10M a.vdi
measure -O foo a.vdi
measure --size 10X
measure -l one --size 4M
measure -l one a.vdi
convert -l one -O raw a.vdi x
convert -l snapshot.foo=1 -O raw a.vdi x
convert -l one -O raw a.vdi a.vdi x
bench -i foo a.vdi
bench -i native a.vdi
bench -n -t writeback a.vdi
dd if=a.vdi
dd foo=1
dd bs=foo if=a of=b
dd bs=0 if=a of=b
dd count=-1 if=a of=b
dd if=nope of=x
amend a.vdi
amend -o help -f raw
amend -f raw -o size=1M tiny.raw
bitmap a.vdi b
bitmap --add a.vdi
bitmap --clear -g 64k a.vdi b
bitmap --remove -b x a.vdi b
bench -c foo a.vdi
bench --pattern=999 a.vdi
bench -c 10 --flush-interval 3 a.vdi
frobnicate
"""


def fill(folder):
    run(THEIRS, "create", "-q", "-f", "raw", "a.raw", "16M", cwd=folder)
    run("qemu-io", "-f", "raw", "-c", "write -P 3 2M 1M", "a.raw", cwd=folder)
    for fmt in ("vdi", "qed", "vhdx"):
        run(THEIRS, "convert", "-O", fmt, "-f", "raw", "a.raw", "a." + fmt, cwd=folder)
    run(THEIRS, "create", "-q", "-f", "vdi", "b.vdi", "16M", cwd=folder)
    run("qemu-io", "-f", "vdi", "-c", "write -P 3 5M 1M", "b.vdi", cwd=folder)
    run(THEIRS, "create", "-q", "-f", "vdi", "small.vdi", "4M", cwd=folder)
    run("qemu-io", "-f", "vdi", "-c", "write -P 3 2M 1M", "small.vdi", cwd=folder)
    run(THEIRS, "create", "-q", "-f", "raw", "tiny.raw", "64k", cwd=folder)


def test_words():
    wrong = []
    with temporary_folder() as mine, temporary_folder() as yours:
        fill(mine)
        fill(yours)
        for line in SAME.strip().splitlines():
            args = line.split()
            a = run(ours(), *args, cwd=mine, status=None)
            b = run(THEIRS, *args, cwd=yours, status=None)
            for what in ("status", "out", "err"):
                if getattr(a, what) != getattr(b, what):
                    wrong.append(f"{line}: {what}\n  berth-img: {getattr(a, what)!r}\n"
                                 f"  qemu-img:  {getattr(b, what)!r}")
    if wrong:
        raise Failed(f"{len(wrong)} differ:\n" + "\n".join(wrong))


def test_interrupted():
    """A half-made target does not stay behind, nor its extents; one that was there does. The signal is
    what a shell sees."""
    with temporary_folder() as folder:
        run(THEIRS, "create", "-q", "-f", "raw", "big", "64M", cwd=folder)
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 64M", "big", cwd=folder)
        target, there = (os.path.join(folder, name) for name in ("target.vdi", "there"))
        extent = os.path.join(folder, "t-f001.vmdk")
        run(ours(), "create", "-q", "-f", "raw", there, "64M")
        for number, data, words in ((signal.SIGINT, target, ["-O", "vdi", "big", target]),
                                    (signal.SIGTERM, target, ["-O", "vdi", "big", "file:" + target]),
                                    (signal.SIGHUP, extent, ["-O", "vmdk", "-o", "subformat="
                                                             "twoGbMaxExtentFlat", "big", "t.vmdk"]),
                                    (signal.SIGINT, there, ["-n", "-O", "raw", "big", there])):
            process = subprocess.Popen([ours(), "convert", "-r", "4M", "-f", "raw", *words], cwd=folder)
            deadline = time.monotonic() + 20
            while not (os.path.exists(data) and os.stat(data).st_blocks > 4096):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise Failed("the conversion did not begin, or ended early")
                time.sleep(0.01)
            process.send_signal(number)
            if process.wait(20) != -number:
                raise Failed(f"after signal {number} the status was {process.returncode}")
            if sorted(os.listdir(folder)) != ["big", "there"]:
                raise Failed(f"convert {words}, signal {number}: {os.listdir(folder)} is left")


def test_progress():
    with temporary_folder() as folder:
        fill(folder)
        done = subprocess.run([ours(), "convert", "-p", "-O", "vdi", "a.qed", "x"], cwd=folder,
                              stdout=subprocess.PIPE, check=True)
        if not done.stdout.startswith(b"    (0.00/100%)\r") or \
                not done.stdout.endswith(b"    (100.00/100%)\r\n"):
            raise Failed(f"progress is {done.stdout!r}")


def test_cache():
    """Opening a large image reads little, and what it may come to is told."""
    with temporary_folder() as folder:
        run(THEIRS, "create", "-q", "-f", "qcow2", "large", "10G", cwd=folder)
        said = run(ours(), "info", "--cache", "large", cwd=folder).out
        if not said.startswith("cache: at most 32 MiB of tables in memory, enough for 256 GiB of the disk"):
            raise Failed(f"info --cache says {said!r}")
        small = run(ours(), "info", "--cache", "--image-opts", "driver=qcow2,cache-size=1M,file.filename=large",
                    cwd=folder).out
        if "at most 1 MiB of tables in memory, enough for 8 GiB" not in small:
            raise Failed(f"with a smaller cache it says {small!r}")


main(test_words, test_interrupted, test_progress, test_cache)
