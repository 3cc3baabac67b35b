#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the help of Debian's virsh lists, berth has: the same groups, commands and options.

Completions and the manual page are held against berth's own help: none forgets a command.
"""
import os
import re
import subprocess

BUILD = os.environ["BERTH_BUILD"]
BERTH = os.path.join(BUILD, "bin", "berth")
NOT_SERVED = {"lxc-enter-namespace": "is for containers, which only libvirt's LXC driver has"}
PROGRAMS = {"run", "install", "clone", "top", "validate"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, LC_ALL="C.UTF-8"), stdin=subprocess.DEVNULL).stdout

# What berth's commands can besides what virsh's can.
OURS = {"console": ("--watch",)}


def groups(program):
    """The command's name to its group's keyword."""
    group, found = None, {}
    for line in output(program, "help").splitlines():
        if title := re.match(r" \S.* \(help keyword '(.*)'\)", line):
            group = title[1]
        elif name := re.match(r"    (\S+) ", line):
            found[name[1]] = group
    return found


def forms(program, command):
    """The synopsis, and each option as the help writes it, without the words about it."""
    text = output(program, "help", command)
    synopsis = re.search(r"SYNOPSIS\n +(.*)\n", text)[1].strip()
    below = text.partition("  OPTIONS\n")[2]
    return synopsis, re.findall(r"^    (\S+(?: <\w+>)?)", below, re.M)


def without_ours(command, form):
    """What virsh has of it."""
    synopsis, options = form
    for option in OURS.get(command, ()):
        synopsis, options = synopsis.replace(f" [{option}]", ""), [own for own in options if own != option]
    return synopsis, options


def check_virsh():
    theirs, ours = groups("virsh"), groups(BERTH)
    assert set(theirs) - set(ours) == set(NOT_SERVED), set(theirs) ^ set(ours)
    assert set(ours) - set(theirs) == PROGRAMS, set(ours) - set(theirs)
    wrong = []
    for command in sorted(set(theirs) - set(NOT_SERVED)):
        if theirs[command] != ours[command]:
            wrong.append(f"{command} is in virsh's group {theirs[command]}, not {ours[command]}")
        wanted, got = forms("virsh", command), without_ours(command, forms(BERTH, command))
        if wanted != got:
            wrong.append(f"{command}:\n  virsh {wanted}\n  berth {got}")
    assert not wrong, "\n".join(wrong)
    print(f"{len(theirs) - len(NOT_SERVED)} commands have virsh's options")


# One line for each line of words to complete: what bash's completion offers for the last word.
COMPLETE = """source "$0"
while IFS= read -r line; do
    COMP_WORDS=($line); [[ $line == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _berth; echo "${COMPREPLY[@]}"
done
"""


def completed(lines):
    script = os.path.join(BUILD, "cmd", "berth", "shell", "berth.bash")
    path = os.path.dirname(BERTH) + ":" + os.environ["PATH"]
    said = subprocess.run(["bash", "-c", COMPLETE, script], input="".join(line + "\n" for line in lines),
                          capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ, PATH=path))
    return [set(words.split()) for words in said.stdout.splitlines()]


def named_options(command):
    return set(re.findall(r"^ +\[?(--[\w-]+)", output(BERTH, "help", command), re.M))


def check_completion(commands):
    first, *rest = completed(["berth --", *(f"berth {command} --" for command in commands)])
    assert {"--connect", "--output", "--readonly"} <= first, first
    assert commands <= completed(["berth "])[0]
    for command, offered in zip(commands, rest, strict=True):
        assert named_options(command) <= offered, f"bash does not know {command} fully"


def check_zsh(commands):
    with open(os.path.join(BUILD, "cmd", "berth", "shell", "_berth")) as file:
        text = file.read()
    for command in commands - PROGRAMS:
        line = re.search(rf"^\t{command}\) (.*) ;;$", text, re.M)[1]
        for option in named_options(command):
            assert re.search(rf"'{option}=?\[", line), f"zsh does not know {command} {option}"


def check_manual(commands):
    with open(os.path.join(BUILD, "docs", "man", "berth.1")) as file:
        page = file.read().replace("\\-", "-")
    missing = [c for c in commands if not re.search(rf"^\.B (berth )?{re.escape(c)}$", page, re.M)]
    assert not missing, f"the manual page does not have {missing}"
    for program in PROGRAMS:
        for option in named_options(program):
            assert option in page, f"the manual page does not have {program} {option}"


def main():
    check_virsh()
    commands = set(groups(BERTH))
    check_completion(commands)
    check_zsh(commands)
    check_manual(commands)


main()
