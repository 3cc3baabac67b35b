#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of the tests that check themselves, again and again: soak.py BUILD MINUTES

Each round runs everything of selfcheck.py at length with 1, 2 or 4 vCPUs in turn, then new random
instructions against the host's CPU. Ends after the round in which the time is over, or at the first
thing that is wrong.
"""
import os
import subprocess
import sys
import time

if len(sys.argv) != 3:
    sys.exit(__doc__)
BUILD, MINUTES = os.path.abspath(sys.argv[1]), float(sys.argv[2])
os.environ["BERTH_BUILD"] = BUILD

import selfcheck  # noqa: E402  (the build must be known first)
from vmm import Failed  # noqa: E402

CASES = "20000"


def main():
    end, rounds = time.monotonic() + 60 * MINUTES, 0
    while time.monotonic() < end:
        cpus = (1, 4, 2)[rounds % 3]
        rounds += 1
        print(f"round {rounds}: {cpus} vCPUs", flush=True)
        try:
            selfcheck.check(cpus, long=True)
        except Failed as problem:
            sys.exit(f"soak: round {rounds}: {problem}")
        done = subprocess.run([os.path.join(BUILD, "tests/guest/diff/guest-diff"), "--count", CASES],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"soak: round {rounds}: random instructions differ:\n{done.stdout}")
    print(f"clean: {rounds} rounds")


main()
