"""Metadata of photographs that Pillow stumbles over."""

import struct


def odd_exif(*entries):
    """EXIF whose entries `(tag, type, count, value)` Pillow may not be able to write again."""
    head = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    return head + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)


TURN = (0x0112, 3, 1, 6)  # clockwise by 90 degrees
ODD = {
    "long where bytes are due": [(0x927C, 4, 1, 7), TURN],
    "text where a number is due": [(0x011A, 2, 4, 0x313131), TURN],
    "numbers where text is due": [(0x010E, 4, 1, 5), TURN],
    "a type that does not exist": [(0x010F, 99, 1, 5), TURN],
    "a folder that points nowhere": [(0x8769, 4, 1, 0xFFFFFF), TURN],
}
