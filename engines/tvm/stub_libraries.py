"""stub_libraries.py ROOT NAME...: makes libraries that TVM is linked with but, for the targets used here, never calls.

ROOT/lib/NAME gets every function that the libraries under ROOT want of NAME, with its version; each returns 1, which all of
these libraries mean as an error. Needs a C compiler and its nm.
"""

import os
import re
import subprocess
import sys
import tempfile

# What tells whose a symbol is, where its version does not name the library itself.
PREFIXES = {"libOpenCL.so.1": r"cl[A-Z]", "libopenblas.so.0": r"cblas_", "libdnnl.so.2": r"dnnl_"}


def main(root, names):
    wanted = wanted_symbols(root)
    for name in names:
        prefix = PREFIXES.get(name, r"(?!)")
        own = sorted((symbol, version) for symbol, version in wanted if version == name or re.match(prefix, symbol))
        if not own:
            sys.exit(f"nothing under {root} wants {name}")
        compile_stub(os.path.join(root, "lib", name), name, own)


def wanted_symbols(root):
    symbols = set()
    for folder, _, files in os.walk(root):
        for file in files:
            if ".so" in file and not file.startswith("libLLVM"):
                path = os.path.join(folder, file)
                text = subprocess.run(["nm", "-D", "--undefined-only", path], capture_output=True, text=True, check=True).stdout
                for line in text.splitlines():
                    symbol, _, version = line.split()[-1].partition("@")
                    symbols.add((symbol, version.lstrip("@")))
    return symbols


def compile_stub(path, name, symbols):
    versions = {}
    for symbol, version in symbols:
        versions.setdefault(version, []).append(symbol)
    script = "".join(f"{version} {{ global: {'; '.join(own)}; }};\n" for version, own in versions.items() if version)
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "stub.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write("".join(f"int {symbol}(void) {{ return 1; }}\n" for symbol in sorted({symbol for symbol, _ in symbols})))
        command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", f"-Wl,-soname,{name}", "-o", path, source]
        if script:
            map_file = os.path.join(folder, "stub.map")
            with open(map_file, "w", encoding="utf-8") as file:
                file.write(script)
            command.insert(-3, f"-Wl,--version-script={map_file}")
        subprocess.run(command, check=True)


main(sys.argv[1], sys.argv[2:])
