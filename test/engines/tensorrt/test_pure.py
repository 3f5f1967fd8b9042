"""The parts of engines/tensorrt that need neither TensorRT nor a GPU."""

import json
import os
import sys
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
sys.path[:0] = [os.path.join(ROOT, "engines", "tensorrt"), os.path.join(ROOT, "engines", "python")]

import fingerprint as prints
import plan as plans

try:
    import calibrate
    import numpy as np
except ImportError:
    calibrate = None

H200 = {"name": "NVIDIA H200", "computeCapability": "9.0"}
MANIFEST = {
    "id": "tensorrt-1",
    "model": "face",
    "compiler": {"name": "tensorrt", "version": "10.6.0"},
    "target": "sm_90",
    "device": {"kind": "cuda", "name": "NVIDIA H200"},
}


def layer(name, tactic, kind="FP32", form="Row major linear"):
    tensor = {"Name": "t", "Format/Datatype": f"{form} {kind}"}
    return {"Name": name, "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor], "TacticName": tactic}


def report(*layers):
    return json.dumps({"Layers": list(layers), "Bindings": []})


class Refusal(unittest.TestCase):
    def test_a_plan_of_this_machine_loads(self):
        self.assertIsNone(plans.refusal(MANIFEST, H200, "10.6.0"))

    def test_another_version_is_named_with_the_remedy(self):
        error, remedy = plans.refusal(MANIFEST, H200, "10.7.0")
        self.assertIn("10.6.0", error)
        self.assertIn("10.7.0", error)
        self.assertIn("compile face again", remedy)

    def test_another_device_is_refused_by_architecture_and_by_name(self):
        self.assertIn("sm_87", plans.refusal(MANIFEST, {"name": "Orin", "computeCapability": "8.7"}, "10.6.0")[0])
        self.assertIn("NVIDIA H100", plans.refusal(MANIFEST, {"name": "NVIDIA H100", "computeCapability": "9.0"}, "10.6.0")[0])

    def test_a_manifest_that_does_not_say_is_refused(self):
        for field in ("compiler", "device", "target"):
            self.assertIsNotNone(plans.refusal({**MANIFEST, field: None}, H200, "10.6.0"))


class Shapes(unittest.TestCase):
    def test_as_trtexec_writes_them(self):
        self.assertEqual(plans.parse_shapes("input:1x3x8x8, ns:mask:1x10", "optShapes"), {"input": (1, 3, 8, 8), "ns:mask": (1, 10)})
        self.assertEqual(plans.parse_shapes("", "optShapes"), {})
        for wrong in ("input", "input:", "input:1xax3", "input:0x3", ":1x3"):
            with self.assertRaisesRegex(ValueError, "optShapes"):
                plans.parse_shapes(wrong, "optShapes")

    def test_a_static_model_needs_no_profile(self):
        self.assertEqual(plans.profile_shapes({"x": (1, 3)}, {}, {}, {}), {})
        self.assertEqual(plans.profile_shapes({"x": (1, 3)}, {}, {"x": (1, 3)}, {}), {})

    def test_a_dynamic_input_without_shapes_says_what_to_give(self):
        with self.assertRaisesRegex(ValueError, "optShapes=x:1x3x8x8"):
            plans.profile_shapes({"x": (-1, 3, 8, 8)}, {}, {}, {})

    def test_one_shape_stands_for_all_three(self):
        self.assertEqual(plans.profile_shapes({"x": (-1, 3)}, {}, {"x": (4, 3)}, {}), {"x": ((4, 3), (4, 3), (4, 3))})
        self.assertEqual(plans.profile_shapes({"x": (-1, 3)}, {"x": (1, 3)}, {"x": (4, 3)}, {"x": (8, 3)})["x"][2], (8, 3))

    def test_shapes_that_cannot_be_are_refused(self):
        for inputs, low, best, high in (
            ({"x": (-1, 3)}, {}, {"y": (1, 3)}, {}),
            ({"x": (-1, 3)}, {}, {"x": (1, 4)}, {}),
            ({"x": (-1, 3)}, {}, {"x": (1, 3, 1)}, {}),
            ({"x": (1, 3)}, {}, {"x": (2, 3)}, {}),
            ({"x": (-1, 3)}, {"x": (4, 3)}, {"x": (2, 3)}, {}),
        ):
            with self.assertRaises(ValueError):
                plans.profile_shapes(inputs, low, best, high)


class Fingerprint(unittest.TestCase):
    def test_equal_choices_are_equal_whatever_generated_kernels_are_called(self):
        first = report(layer("conv1", "sm80_xmma_a"), layer("node", "__myl_Conv_0x6f1d2c3b4a5968778695a4b3c2d1e0f0"))
        second = report(layer("conv1", "sm80_xmma_a"), layer("node", "__myl_Conv_0x0123456789abcdef0123456789abcdef"))
        self.assertEqual(prints.fingerprint(first), prints.fingerprint(second))

    def test_running_numbers_of_layers_that_the_builder_adds_do_not_count(self):
        first = report(layer("__myl_Mov_myl6_0", "k"), layer("dummy_shape_call__mye539_0_myl58_0", ""), layer("Identity_10", "0x3e8"))
        second = report(layer("__myl_Mov_myl8_1", "k"), layer("dummy_shape_call__mye580_0_myl7_0", ""), layer("Identity_2", "0x3e8"))
        self.assertEqual(prints.fingerprint(first), prints.fingerprint(second))
        self.assertNotEqual(prints.fingerprint(report(layer("conv_1", "k"))), prints.fingerprint(report(layer("conv_2", "k"))))

    def test_tactic_precision_format_and_order_all_count(self):
        base = report(layer("a", "k1"), layer("b", "k2"))
        for other in (
            report(layer("a", "k9"), layer("b", "k2")),
            report(layer("a", "k1", "FP16"), layer("b", "k2")),
            report(layer("a", "k1", form="Channel major FP32 format where channel % 4 == 0,"), layer("b", "k2")),
            report(layer("b", "k2"), layer("a", "k1")),
        ):
            self.assertNotEqual(prints.fingerprint(base), prints.fingerprint(other))

    def test_what_does_not_change_the_program_does_not_count(self):
        noisy = json.loads(report(layer("a", "k1")))
        noisy["Layers"][0]["Weights"] = {"Count": 3}
        self.assertEqual(prints.fingerprint(noisy), prints.fingerprint(report(layer("a", "k1"))))

    def test_precision_is_read_from_either_form_of_the_report(self):
        self.assertEqual(prints.entries(report(layer("a", "k", "FP16")))[0][1], ["FP16", "FP16"])
        bare = {"Name": "a", "Inputs": [{"Format/Datatype": "Half"}], "Outputs": [{"Format/Datatype": "Float"}], "TacticName": "k"}
        self.assertEqual(prints.entries(report(bare))[0][1], ["HALF", "FLOAT"])
        split = {"Name": "a", "Inputs": [], "Outputs": [{"Name": "t", "Format": "Linear", "Datatype": "Half"}], "TacticName": "k"}
        self.assertEqual(prints.entries(report(split))[0][1:], [["Half"], "k", ["Linear"]])

    def test_names_alone_are_told_apart_from_tactics(self):
        self.assertFalse(prints.has_tactics(report("a", "b")))
        self.assertTrue(prints.has_tactics(report(layer("a", "k"))))

    def test_builds_are_compared_layer_by_layer(self):
        first, second = report(layer("a", "k1"), layer("b", "k2")), report(layer("a", "k1"), layer("b", "k3"))
        self.assertEqual(prints.differing_layers(first, second), ["b"])
        self.assertAlmostEqual(prints.jaccard(prints.kernel_multiset(first), prints.kernel_multiset(second)), 1 / 3)
        self.assertEqual(prints.jaccard({}, {}), 1.0)


@unittest.skipIf(calibrate is None, "numpy is not installed in this Python")
class Calibration(unittest.TestCase):
    def save(self, **arrays):
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "inputs.npz")
        np.savez(path, **arrays)
        return path

    def test_batches_are_whole_and_in_order(self):
        arrays = calibrate.load_samples(self.save(x=np.arange(10, dtype=np.float32).reshape(5, 2)), {"x": (2, 2)})
        got = list(calibrate.batches(arrays, {"x": (2, 2)}))
        self.assertEqual([batch["x"][:, 0].tolist() for batch in got], [[0, 2], [4, 6], [8, 0]])

    def test_samples_that_do_not_fit_are_refused_by_name(self):
        inputs = {"x": (1, 2)}
        for arrays, words in (({"y": np.zeros((3, 2))}, 'named "x"'), ({"x": np.zeros((3, 5))}, r"\[5\]"), ({"x": np.zeros((0, 2))}, "at least 1")):
            with self.assertRaisesRegex(calibrate.CalibrationError, words):
                calibrate.load_samples(self.save(**arrays), inputs)
        with self.assertRaisesRegex(calibrate.CalibrationError, "cannot be read"):
            calibrate.load_samples("/nonexistent.npz", inputs)


if __name__ == "__main__":
    unittest.main()
