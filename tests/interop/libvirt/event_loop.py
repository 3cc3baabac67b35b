# SPDX-License-Identifier: GPL-2.0-or-later
"""The event loop of Python's libvirt, on a thread that ends before Python does: it would crash else."""
import atexit
import threading

import libvirt


def begin():
    """Before the first connection."""
    libvirt.virEventRegisterDefaultImpl()
    # Wakes the loop so that it sees that it is over.
    libvirt.virEventAddTimeout(100, lambda *_: None, None)
    over = threading.Event()

    def run():
        while not over.is_set():
            libvirt.virEventRunDefaultImpl()
    thread = threading.Thread(target=run, daemon=True)

    def end():
        over.set()
        thread.join()
    thread.start()
    atexit.register(end)
