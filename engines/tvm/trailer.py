"""What a host must know about a library, appended to the file itself: one artifact, one digest. Loaders ignore it."""

import json
import os
import struct

MAGIC = b"XCKTVM01"
TAIL = struct.Struct("<Q8s")


def append(path, description):
    body = json.dumps(description, sort_keys=True).encode()
    with open(path, "ab") as file:
        file.write(body + TAIL.pack(len(body), MAGIC))


def read(path):
    """Takes a path, /proc/self/fd/N too; ValueError when the file was not made by Crosscheck."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < TAIL.size:
            raise ValueError("it is not a TVM library made by crosscheck compile")
        file.seek(size - TAIL.size)
        length, magic = TAIL.unpack(file.read(TAIL.size))
        if magic != MAGIC or length > size - TAIL.size:
            raise ValueError("it is not a TVM library made by crosscheck compile, or it was cut short")
        file.seek(size - TAIL.size - length)
        return json.loads(file.read(length))
