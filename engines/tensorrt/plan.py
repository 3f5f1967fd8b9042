"""Whether a plan may be loaded here. A plan is machine code for one device type and one TensorRT version."""


def refusal(manifest, device, version):
    """Why this plan must not be deserialised on this machine: (error, remedy), or None when it may.

    Checked before TensorRT sees the plan: its own answer to a foreign one is a number, or a crash.
    """
    engine = manifest.get("id", "?")
    built_with = (manifest.get("compiler") or {}).get("version")
    built_for = (manifest.get("device") or {}).get("name")
    target = manifest.get("target")
    again = f"compile {manifest.get('model', 'the model')} again on this machine: crosscheck compile --compiler tensorrt"
    if not built_with or not built_for or not target:
        return (f"engine.yaml of {engine} does not say which TensorRT, device and target its plan is for", again)
    if built_with != version:
        return (f"Plan {engine} was built by TensorRT {built_with}; this machine has {version}, and a plan loads only into the version that built it", again)
    if target != target_of(device):
        return (f"Plan {engine} is for {target}; this GPU is {target_of(device)} ({device['name']})", again)
    if built_for != device["name"]:
        return (f"Plan {engine} was timed on {built_for}; this GPU is {device['name']}", again)
    return None


def target_of(device):
    """`sm_90` for compute capability 9.0."""
    return "sm_" + device["computeCapability"].replace(".", "")


def parse_shapes(text, option):
    """`input:1x3x240x320,mask:1x10`, as trtexec writes shapes, to {name: (1, 3, 240, 320), ...}."""
    shapes = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, separator, dimensions = part.rpartition(":")
        numbers = dimensions.split("x")
        if not separator or not name or not all(number.isdigit() and int(number) > 0 for number in numbers):
            raise ValueError(f'{option} has "{part}"; write NAME:1x3x224x224, several separated by commas')
        shapes[name] = tuple(int(number) for number in numbers)
    return shapes


def profile_shapes(inputs, low, best, high):
    """The one optimisation profile: {input: (min, opt, max)} for the inputs with dynamic dimensions.

    `inputs` is {name: shape with -1 for dynamic}. A dynamic input without shapes, a shape for an unknown or static
    input and shapes out of order are refused.
    """
    given = low.keys() | best.keys() | high.keys()
    for name in sorted(given - inputs.keys()):
        raise ValueError(f'Shapes are given for "{name}"; the inputs are {", ".join(inputs)}')
    profile = {}
    for name, shape in inputs.items():
        fixed = all(size >= 0 for size in shape)
        if fixed and name not in given:
            continue
        opt = best.get(name) or low.get(name) or high.get(name)
        if opt is None:
            raise ValueError(
                f'Input "{name}" has dynamic dimensions {list(shape)} and TensorRT needs to know their range;'
                f" give --option optShapes={name}:{'x'.join(str(max(size, 1)) for size in shape)}, and minShapes and maxShapes for a range"
            )
        triple = (low.get(name, opt), opt, high.get(name, opt))
        for candidate in triple:
            if len(candidate) != len(shape):
                raise ValueError(f'Input "{name}" has {len(shape)} dimensions, its shape {"x".join(map(str, candidate))} has {len(candidate)}')
            for size, wanted in zip(candidate, shape):
                if wanted >= 0 and wanted != size:
                    raise ValueError(f'Input "{name}" is fixed to {list(shape)}; {"x".join(map(str, candidate))} does not fit it')
        if any(not a <= b <= c for a, b, c in zip(*triple)):
            raise ValueError(f'Shapes of input "{name}" must rise from minShapes over optShapes to maxShapes: {triple}')
        if not fixed:
            profile[name] = triple
    return profile
