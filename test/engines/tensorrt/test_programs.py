"""The family's programs as the gateway starts them, on a fake GPU and a fake TensorRT (see fake/)."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
FAMILY = os.path.join(ROOT, "engines", "tensorrt")
sys.path[:0] = [os.path.join(ROOT, "bench", "tensorrt"), os.path.join(ROOT, "engines", "python")]

from client import MAP, PING, HostClient, HostError

COMPILER = shutil.which("cc")
OPTIONS = {
    "optimizationLevel": 3, "avgTimingIterations": 8, "workspaceBytes": 1 << 30, "tf32": False, "maxAuxStreams": 0,
    "minShapes": "", "optShapes": "", "maxShapes": "", "int8Fallback": "fp16", "strictReplay": True,
}  # fmt: skip
STATIC = {"inputs": [{"name": "x", "shape": [1, 4]}], "outputs": [{"name": "y", "shape": [1, 4]}], "factor": 2}
DYNAMIC = {"inputs": [{"name": "x", "shape": [-1, 4]}], "outputs": [{"name": "y", "shape": [-1, 4]}], "factor": 3}
RANGE = {"minShapes": "x:1x4", "optShapes": "x:2x4", "maxShapes": "x:4x4"}


@unittest.skipIf(COMPILER is None, "no C compiler for the fake CUDA driver; install gcc")
class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.libraries = cls.enterClassContext(tempfile.TemporaryDirectory())
        subprocess.run([COMPILER, "-shared", "-fPIC", "-o", f"{cls.libraries}/libcuda.so.1", f"{HERE}/fake/fake_cuda.c"], check=True)

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def environment(self, **more):
        path = os.pathsep.join([os.path.join(ROOT, "engines", "python"), os.path.join(HERE, "fake")])
        return {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": "", "CROSSCHECK_TENSORRT_LIBRARIES": self.libraries, **more}

    def start(self, program):
        return subprocess.Popen(
            [sys.executable, program], cwd=FAMILY, env=self.environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def job(self, model, precision="fp32", options=None, replay=None, calibration=None):
        file = os.path.join(self.folder, "model.onnx")
        with open(file, "w") as out:
            json.dump(model, out)
        for name in ("work", "out"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        return {
            "model": {"name": "toy", "file": file, "sha256": "0" * 64}, "compiler": "tensorrt", "precision": precision,
            "build": 1, "threads": 1, "options": {**OPTIONS, **(options or {})}, "replay": replay, "calibration": calibration,
            "workDirectory": os.path.join(self.folder, "work"), "outDirectory": os.path.join(self.folder, "out"),
        }  # fmt: skip

    def compile(self, model, environment=None, **job):
        ran = subprocess.run(
            [sys.executable, "compile.py"], cwd=FAMILY, env=self.environment(**(environment or {})),
            input=json.dumps(self.job(model, **job)) + "\n", text=True, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        events = [json.loads(line) for line in ran.stdout.splitlines()]
        self.assertEqual(ran.returncode, 0 if events[-1]["type"] == "result" else 1, ran.stderr)
        return events[-1], events[:-1]

    def build(self, model, **job):
        result, _ = self.compile(model, **job)
        self.assertEqual(result["type"], "result", result)
        return result

    def host(self, result, environment=None, **manifest):
        fields = {
            "id": "tensorrt-1", "model": "toy", "compiler": {"name": "tensorrt", "version": result["compilerVersion"]},
            "target": result["target"], "device": result["device"], **manifest,
        }  # fmt: skip
        path = self.environment(**(environment or {}))
        out = os.path.join(self.folder, "out")
        return HostClient(os.path.join(FAMILY, "host.py"), fields, os.path.join(out, result["artifact"]), out, environment={**path, "PYTHONPATH": path["PYTHONPATH"]})

    # probe

    def test_probe_names_device_and_version(self):
        ran = subprocess.run([sys.executable, "probe.py"], cwd=FAMILY, env=self.environment(), text=True, capture_output=True, check=True)
        found = json.loads(ran.stdout)["compilers"]["tensorrt"]
        self.assertEqual((found["available"], found["version"], found["target"]), (True, "10.6.0", "sm_90"), found)
        self.assertEqual(found["device"]["name"], "Fake GPU")

    def test_probe_says_what_is_missing(self):
        for more, words in (
            ({"FAKE_CUDA_NO_DEVICE": "1"}, "no usable GPU"),
            ({"FAKE_TENSORRT_VERSION": "11.2.1"}, "11.2.1 is not supported"),
            ({"PYTHONPATH": os.path.join(ROOT, "engines", "python")}, "cannot be imported"),
            ({"CROSSCHECK_TENSORRT_DEVICE": "3"}, "GPU 3 does not exist"),
        ):
            ran = subprocess.run([sys.executable, "probe.py"], cwd=FAMILY, env=self.environment(**more), text=True, capture_output=True, check=True)
            found = json.loads(ran.stdout)["compilers"]["tensorrt"]
            self.assertFalse(found["available"])
            self.assertIn(words, found["reason"])
            self.assertTrue(found["remedy"])

    # compile

    def test_a_build_leaves_plan_cache_and_layer_report(self):
        result, progress = self.compile(STATIC)
        self.assertEqual((result["artifact"], result["timingCache"], result["target"]), ("model.plan", "timing.cache", "sm_90"), result)
        self.assertEqual(sorted(os.listdir(os.path.join(self.folder, "out"))), ["layers.json", "model.plan", "timing.cache"])
        self.assertEqual(len(result["fingerprint"]), 64)
        self.assertTrue(any("Building Engine" in event.get("message", "") for event in progress), progress)

    def test_precisions_set_their_flags_and_tf32_is_off(self):
        def flags(**job):
            self.build(STATIC, **job)
            with open(os.path.join(self.folder, "out", "model.plan")) as file:
                return json.load(file)["flags"]

        self.assertEqual(flags(), [])
        self.assertEqual(flags(options={"tf32": True}), ["TF32"])
        self.assertEqual(flags(precision="fp16"), ["FP16"])
        self.assertNotEqual(self.build(STATIC)["fingerprint"], self.build(STATIC, precision="fp16")["fingerprint"])

    def test_int8_calibrates_on_every_sample(self):
        try:
            import numpy as np
        except ImportError:
            self.skipTest("numpy is not installed in this Python")
        samples = os.path.join(self.folder, "inputs.npz")
        np.savez(samples, x=np.zeros((5, 4), np.float32))
        notes = self.build(STATIC, precision="int8", calibration=samples)["notes"]
        self.assertEqual(notes["calibrationSamples"], 5)
        self.assertTrue(os.path.exists(os.path.join(self.folder, "out", "calibration.cache")))

    def test_replay_is_checked_by_digest(self):
        self.build(STATIC)
        cache = os.path.join(self.folder, "timing.cache")
        shutil.copy(os.path.join(self.folder, "out", "timing.cache"), cache)
        self.assertTrue(self.build(STATIC, replay=cache)["notes"]["replayed"]["unchanged"])
        other = {**STATIC, "factor": 5}
        refused, _ = self.compile(other, replay=cache)
        self.assertIn("not a replay", refused["error"])
        self.assertFalse(self.build(other, replay=cache, options={"strictReplay": False})["notes"]["replayed"]["unchanged"])

    def test_what_cannot_be_built_says_why_and_what_helps(self):
        foreign = os.path.join(self.folder, "foreign.cache")
        with open(foreign, "wb") as file:
            file.write(b"foreign device")
        garbage = os.path.join(self.folder, "garbage.cache")
        with open(garbage, "wb") as file:
            file.write(b"garbage")
        for words, arguments in (
            ("is damaged", {"model": STATIC, "replay": garbage}),
            ("Einsum node_7: no importer", {"model": {**STATIC, "unsupported": "Einsum"}}),
            ("dynamic dimensions", {"model": DYNAMIC}),
            ("INT8 needs calibration", {"model": STATIC, "precision": "int8"}),
            ("OutOfMemory", {"model": STATIC, "environment": {"FAKE_TENSORRT": "no-memory"}}),
            ("is refused", {"model": STATIC, "replay": foreign}),
            ("cannot be read", {"model": STATIC, "replay": "/nonexistent"}),
            ("no usable GPU", {"model": STATIC, "environment": {"FAKE_CUDA_NO_DEVICE": "1"}}),
            ("not supported", {"model": STATIC, "environment": {"FAKE_TENSORRT_VERSION": "8.5.3"}}),
        ):
            with self.subTest(words):
                error, _ = self.compile(**arguments)
                self.assertEqual(error["type"], "error")
                self.assertIn(words, error["error"])
                self.assertTrue(error["remedy"])
                self.assertEqual(os.listdir(os.path.join(self.folder, "out")), [])

    def test_a_full_disk_is_named(self):
        job = self.job(STATIC)
        os.rmdir(job["outDirectory"])
        os.symlink("/dev/full", os.path.join(self.folder, "full"))
        job["outDirectory"] = os.path.join(self.folder, "full")
        process = self.start("compile.py")
        out, _ = process.communicate(json.dumps(job) + "\n", timeout=60)
        self.assertIn("cannot be written", json.loads(out.splitlines()[-1])["error"])
        self.assertEqual(process.returncode, 1)

    def test_an_interrupt_does_not_wait_for_native_code(self):
        process = subprocess.Popen(
            [sys.executable, "compile.py"], cwd=FAMILY, env=self.environment(FAKE_TENSORRT="endless"), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process.stdin.write(json.dumps(self.job(STATIC)) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(5), 130)
        process.stdin.close()
        process.stdout.close()

    # host

    def test_the_host_tells_whether_processes_use_the_gpu_at_once(self):
        for environment, mps in (({}, False), ({"FAKE_MPS": "1"}, True)):
            with self.subTest(environment):
                host = self.host(self.build(STATIC), environment)
                self.assertIs(host.info["device"]["mps"], mps)
                host.close()

    def test_the_host_answers_from_shared_memory_again_and_again(self):
        for environment in ({}, {"FAKE_CUDA_CANNOT_PIN": "1"}, {"CROSSCHECK_TENSORRT_GRAPH": "off"}, {"FAKE_TENSORRT": "not-capturable"}):
            with self.subTest(environment):
                host = self.host(self.build(STATIC), environment)
                payload = host.prepare()
                for base in range(3):
                    values = [base + 0.5 * i for i in range(4)]
                    outputs, engine, device = host.infer(payload, [struct.pack("<4f", *values)])
                    self.assertEqual(outputs[0][0], (1, 4))
                    self.assertEqual(list(struct.unpack("<4f", outputs[0][1])), [2 * value for value in values])
                    self.assertGreater(engine, 0)
                    self.assertLessEqual(device, engine)
                self.assertGreater(json.loads(host.ask(PING)[0])["deviceBytes"], 4096)
                self.assertEqual(host.close(), 0)

    def test_the_shared_file_may_grow(self):
        host = self.host(self.build(STATIC))
        payload = host.prepare()
        host.infer(payload, [struct.pack("<4f", 1, 2, 3, 4)])
        os.posix_fallocate(host.shared, 0, 1 << 16)
        host.ask(MAP, b'{"bytes": 65536}')
        outputs, _, _ = host.infer(payload, [struct.pack("<4f", 1, 2, 3, 4)])
        self.assertEqual(list(struct.unpack("<4f", outputs[0][1])), [2, 4, 6, 8])
        host.close()

    def test_dynamic_shapes_follow_the_request_within_the_profile(self):
        host = self.host(self.build(DYNAMIC, options=RANGE))
        self.assertEqual(host.info["inputs"][0], {"name": "x", "datatype": "FP32", "shape": [-1, 4], "bounds": [[1, 4], [4, 4]]})
        for rows in (2, 4, 1):
            values = [float(i) for i in range(4 * rows)]
            outputs, _, _ = host.infer(host.prepare({"x": [rows, 4]}), [struct.pack(f"<{4 * rows}f", *values)])
            self.assertEqual(outputs[0][0], (rows, 4))
            self.assertEqual(list(struct.unpack(f"<{4 * rows}f", outputs[0][1])), [3 * value for value in values])
        with self.assertRaises(HostError) as refused:
            host.infer(host.prepare({"x": [9, 4]}), [bytes(144)])
        self.assertEqual(refused.exception.status, 1)
        with self.assertRaises(HostError) as small:
            host.infer(host.prepare({"x": [4, 4]}, space=16), [bytes(64)])
        self.assertEqual(small.exception.answer, {"index": 0, "bytes": 64})
        host.close()

    def test_a_plan_of_another_version_device_or_file_is_refused_with_the_remedy(self):
        result = self.build(STATIC)
        plan = os.path.join(self.folder, "out", "model.plan")
        for words, environment, manifest in (
            ("built by TensorRT 10.3.0", {}, {"compiler": {"name": "tensorrt", "version": "10.3.0"}}),
            ("sm_87", {}, {"target": "sm_87"}),
            ("timed on Orin", {}, {"device": {"kind": "cuda", "name": "Orin"}}),
            ("no usable GPU", {"FAKE_CUDA_NO_DEVICE": "1"}, {}),
            ("cannot be imported", {"PYTHONPATH": os.path.join(ROOT, "engines", "python")}, {}),
        ):
            with self.subTest(words):
                with self.assertRaises(HostError) as refused:
                    self.host(result, environment, **manifest)
                self.assertIn(words, str(refused.exception))
                self.assertTrue(refused.exception.answer["remedy"])
        with open(plan, "w") as file:
            file.write("not a plan")
        with self.assertRaisesRegex(HostError, "magicTagRead"):
            self.host(result)


if __name__ == "__main__":
    unittest.main()
