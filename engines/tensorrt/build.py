"""ONNX to a TensorRT plan, with everything recorded that a second build would need."""

import hashlib
import os
from dataclasses import dataclass, field

import api
import fingerprint as prints
import plan as plans


class BuildError(RuntimeError):
    """The build cannot be done; `remedy` says what would help."""

    def __init__(self, message, remedy):
        super().__init__(message)
        self.remedy = remedy


@dataclass
class Built:
    plan: bytes
    timing_cache: bytes
    layers: str  # the inspector's JSON
    fingerprint: str
    calibration_cache: bytes = b""
    notes: dict = field(default_factory=dict)


def build(trt, cuda, logger, model_path, precision, options, replay=None, calibration=None, progress=None):
    """Builds one plan.

    `replay` is the path of a timing cache: it is attached as it is, its file is never written, and the build is
    refused when the builder had to time anything that it does not hold (option `strictReplay`).
    """
    builder = trt.Builder(logger)
    network = builder.create_network(_explicit_batch(trt))
    _parse(trt, network, logger, model_path)
    config = builder.create_builder_config()
    notes = _configure(trt, config, options)
    shapes = _profile(builder, config, network, options)
    calibrator = _precision(trt, cuda, config, network, shapes, precision, options, calibration, notes)
    cache, cache_digest = _timing_cache(trt, config, replay, options, logger)
    if progress is not None:
        _report_progress(trt, config, progress)

    host_memory = builder.build_serialized_network(network, config)
    if host_memory is None:
        raise _failure(logger.take_problems())
    plan = bytes(host_memory)
    after = bytes(cache.serialize())
    if calibrator is not None:
        notes["calibrationSamples"] = calibrator.samples
        calibrator.free()
    notes["timingCacheSha256"] = _sha256(after)
    if replay is not None:
        _check_replay(replay, cache_digest, after, options, notes)
    layers, engine_notes = inspect(trt, logger, plan)
    notes.update(engine_notes)
    return Built(plan, after, layers, prints.fingerprint(layers), calibrator.cache if calibrator else b"", notes)


def inspect(trt, logger, plan):
    """The inspector's JSON of a plan, and what the engine tells about itself."""
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise BuildError(f"The plan just built does not load: {logger.take_problems()}", "report this with the log")
    inspector = engine.create_engine_inspector()
    layers = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    notes = {
        "layers": engine.num_layers,
        "auxStreams": getattr(engine, "num_aux_streams", 0),
        "deviceMemoryBytes": _device_memory(engine),
    }
    if not prints.has_tactics(layers):
        notes["fingerprintOf"] = "layer names only: this TensorRT reports no tactics"
    return layers, notes


def _explicit_batch(trt):
    """Needed by 8.x, ignored by 10.x, gone after that."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(trt, network, logger, model_path):
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")  # some operators are plugins
    parser = trt.OnnxParser(network, logger)
    # The path form finds weights that lie in files of their own beside the model.
    if not parser.parse_from_file(model_path):
        reasons = []
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            operator = getattr(error, "node_operator", lambda: "")()
            name = getattr(error, "node_name", lambda: "")()
            reasons.append(f"{operator} {name}: {error.desc()}".strip(" :"))
        text = "; ".join(dict.fromkeys(reasons)) or logger.take_problems()
        raise BuildError(
            f"TensorRT {trt.__version__} cannot take this model: {text}",
            "export the model with operators of TensorRT's support matrix, or serve it with another compiler",
        )
    if network.num_outputs == 0:
        raise BuildError("The model has no output", "export it with its outputs marked")


def _configure(trt, config, options):
    notes = {}
    config.builder_optimization_level = options["optimizationLevel"]
    config.avg_timing_iterations = options["avgTimingIterations"]
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options["workspaceBytes"])
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options["maxAuxStreams"] >= 0:
        config.max_aux_streams = options["maxAuxStreams"]
    api.set_flag(trt, config, "TF32", options["tf32"])  # on by default in TensorRT
    # A compilation cache that outlives a build would tie builds together that are to be independent.
    notes["compilationCacheDisabled"] = api.set_flag(trt, config, "DISABLE_COMPILATION_CACHE")
    return notes


def _profile(builder, config, network, options):
    """Adds the one profile where the model is dynamic; returns {input: shape to calibrate with}."""
    inputs = {network.get_input(i).name: tuple(network.get_input(i).shape) for i in range(network.num_inputs)}
    try:
        low, best, high = (plans.parse_shapes(options[key], key) for key in ("minShapes", "optShapes", "maxShapes"))
        ranges = plans.profile_shapes(inputs, low, best, high)
    except ValueError as error:
        raise BuildError(str(error), "give shapes as NAME:1x3x224x224 in minShapes, optShapes and maxShapes") from error
    if ranges:
        profile = builder.create_optimization_profile()
        for name, triple in ranges.items():
            profile.set_shape(name, *triple)
        config.add_optimization_profile(profile)
        if hasattr(config, "set_calibration_profile"):
            config.set_calibration_profile(profile)
    return {name: ranges[name][1] if name in ranges else shape for name, shape in inputs.items()}


def _precision(trt, cuda, config, network, shapes, precision, options, calibration, notes):
    if precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    if precision != "int8":
        return None
    config.set_flag(trt.BuilderFlag.INT8)
    if options["int8Fallback"] == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    if any(network.get_layer(i).type == trt.LayerType.QUANTIZE for i in range(network.num_layers)):
        notes["quantization"] = "explicit: the model's own Q/DQ nodes; calibration inputs are not used"
        return None
    notes["quantization"] = "implicit: entropy calibration"
    if calibration is None:
        raise BuildError("INT8 needs calibration inputs", "give an .npz with one array per input, or an ONNX model that is quantised already")
    try:
        import calibrate  # the one part that needs numpy
    except ImportError as error:
        raise BuildError(f"INT8 calibration needs numpy: {error}", "install numpy for the Python in CROSSCHECK_TENSORRT_PYTHON") from error
    try:
        calibrator = calibrate.make_calibrator(trt, cuda, calibration, shapes)
    except calibrate.CalibrationError as error:
        raise BuildError(str(error), "make the .npz from preprocessed inputs of the model") from error
    config.int8_calibrator = calibrator
    return calibrator


def _timing_cache(trt, config, replay, options, logger):
    """An empty cache, or the one to replay; returns it and the digest of its contents before the build."""
    content = b""
    if replay is not None:
        try:
            with open(replay, "rb") as file:
                content = file.read()
        except OSError as error:
            raise BuildError(f"Timing cache {replay} cannot be read: {error}", "name the timing.cache of an earlier build") from error
        if not content:
            raise BuildError(f"Timing cache {replay} is empty", "name the timing.cache of an earlier build")
    logger.problems.clear()
    cache = config.create_timing_cache(content)
    if logger.problems:  # TensorRT complains of a damaged cache and goes on with an empty one
        raise BuildError(f"Timing cache {replay} is damaged: {logger.take_problems()}", "name the timing.cache of an earlier build")
    # Never ignore_mismatch: another device's timings would choose tactics for this one.
    if cache is None or not config.set_timing_cache(cache, False):
        raise BuildError(
            f"Timing cache {replay} is refused: {logger.take_problems()}",
            "a timing cache fits only the GPU, CUDA and TensorRT that wrote it; build without --replay",
        )
    if replay is not None and options["strictReplay"]:
        api.set_flag(trt, config, "ERROR_ON_TIMING_CACHE_MISS")
    return cache, _sha256(bytes(cache.serialize()))


def _check_replay(replay, before, after, options, notes):
    unchanged = before == _sha256(after)
    with open(replay, "rb") as file:
        notes["replayed"] = {"sha256": _sha256(file.read()), "unchanged": unchanged}
    if not unchanged and options["strictReplay"]:
        raise BuildError(
            "The builder timed tactics that the timing cache does not hold, so this is not a replay of it",
            "replay with the model, options and precision the cache was recorded with, or set strictReplay=false",
        )


def _report_progress(trt, config, progress):
    """Progress exists from TensorRT 10 on; before that a build is silent until its end."""
    if not hasattr(trt, "IProgressMonitor"):
        return

    class Monitor(trt.IProgressMonitor):
        def __init__(self):
            trt.IProgressMonitor.__init__(self)
            self.steps = {}

        def phase_start(self, phase_name, parent_phase, num_steps):
            self.steps[phase_name] = num_steps
            progress(phase_name, parent_phase, 0, num_steps)

        def step_complete(self, phase_name, step):
            progress(phase_name, None, step + 1, self.steps.get(phase_name, 0))
            return True

        def phase_finish(self, phase_name):
            self.steps.pop(phase_name, None)

    config.progress_monitor = Monitor()


def _failure(reason):
    lowered = reason.lower()
    if "out of memory" in lowered or "insufficient memory" in lowered:
        remedy = "free GPU memory, or lower --option workspaceBytes"
    elif "timing cache" in lowered:
        remedy = "replay with the model, options and precision the cache was recorded with, or build without --replay"
    elif "no implementation" in lowered or "could not find any implementation" in lowered:
        remedy = "raise --option workspaceBytes, or build with another precision"
    else:
        remedy = "the log above has the builder's own words"
    return BuildError(f"TensorRT could not build the plan: {reason}", remedy)


def _device_memory(engine):
    return int(getattr(engine, "device_memory_size_v2", None) or engine.device_memory_size)


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def write_beside(directory, built):
    """Writes plan, timing cache, layer report and calibration cache; returns the artifact's name.

    Nothing needs undoing when this fails (disk full): the folder is moved into the repository only after a result.
    """
    files = {"model.plan": built.plan, "timing.cache": built.timing_cache, "layers.json": built.layers.encode()}
    if built.calibration_cache:
        files["calibration.cache"] = built.calibration_cache
    for name, content in files.items():
        path = os.path.join(directory, name)
        try:
            with open(path, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BuildError(f"{path} cannot be written: {error.strerror}", "free space on that disk and build again") from error
    return "model.plan"
