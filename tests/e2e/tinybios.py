# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware of a few bytes: guests that a test can start in milliseconds."""

SERIAL, DEBUG_EXIT, RESET = 0x3F8, 0x501, 0xCF9


def out(port, value):
    """Code that writes a byte to a port."""
    return bytes([0xBA, port & 0xFF, port >> 8, 0xB0, value, 0xEE])  # mov dx, mov al, out


def text(words):
    """Code that writes to the first serial port."""
    return b"".join(out(SERIAL, byte) for byte in words.encode())


HALT = b"\xFA\xF4\xEB\xFC"  # cli; hlt; jmp back to cli
SPIN = b"\xEB\xFE"          # jmp to itself


def write(path, code):
    """A 64 KiB firmware image that runs `code` in real mode."""
    image = bytearray(b"\x90" * 65536)
    image[:len(code)] = code
    image[0xFFF0:0xFFF3] = b"\xE9\x0D\x00"  # jmp from F000:FFF0 to F000:0000
    with open(path, "wb") as file:
        file.write(image)
    return path
