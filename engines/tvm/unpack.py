"""unpack.py DESTINATION JAR...: takes from the jars what TVM needs, after checking each jar's digest.

Of the jar's python folder only `tvm` is used: the other packages there are built for Python 3.12, and so is TVM's own
Cython module, without which it uses ctypes.
"""

import hashlib
import os
import re
import sys
import zipfile

DIGESTS = {
    "tvm-0.14.0-1.5.10-linux-x86_64.jar": "dfa12f57f22d6e7776864348b6a08aab21e5252fef49fd8fd31e3d3b97b5c880",
    "tvm-0.14.0-1.5.10-linux-x86_64-gpu.jar": "f0ea64d1ffba1fbb1a6a9bb33fefcc8049bb6ad337e5046085a0262703c61ec9",
    "llvm-17.0.6-1.5.10-linux-x86_64.jar": "21761067bc07e1540d72e1cd8e2c9dff7d32ad7627477e7d6e18d3665d84ba07",
    "openblas-0.3.26-1.5.10-linux-x86_64.jar": "7a8eb64c8a0ae43de9c0742b861e1ec31575bd4b0e4108014d4261b45353a34c",
    "dnnl-2.7.1-1.5.8-linux-x86_64.jar": "d2b5e62087a2792aeb23e89b5140cfc33ffaa008aba001ca88dcf20901f33aee",
}
WANTED = {
    "tvm": re.compile(r".*/(python/tvm/(?!.*\.cpython-).+)"),
    "llvm": re.compile(r".*/(libLLVM-17\.so)"),
    "openblas": re.compile(r".*/(lib(?:openblas|gfortran|quadmath)\.so[^/]*)"),
    "dnnl": re.compile(r".*/(lib(?:dnnl|gomp)\.so[^/]*)"),
}


def main(destination, jars):
    for jar in jars:
        name = os.path.basename(jar)
        digest = sha256(jar)
        if DIGESTS.get(name) != digest:
            sys.exit(
                f"{jar} has SHA-256 {digest}, expected {DIGESTS.get(name)}: delete it from Maven's local repository "
                "and run the set-up again"
            )
        unpack(jar, WANTED[name.split("-")[0]], destination)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


def unpack(jar, wanted, destination):
    with zipfile.ZipFile(jar) as archive:
        for entry in archive.infolist():
            match = wanted.fullmatch(entry.filename)
            if not match or entry.is_dir():
                continue
            inside = match.group(1)
            path = os.path.join(destination, inside if inside.startswith("python/") else os.path.join("lib", inside))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(entry) as source, open(path, "wb") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)


main(sys.argv[1], sys.argv[2:])
