"""Talks to a V2 server with tritonclient as it is, and fails on the first thing that is not as Triton has it.

Usage: tritonclient_check.py HOST:PORT MODEL PINNED_ENGINE
"""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def main(address, model, pinned):
    with triton.InferenceServerClient(url=address, concurrency=4) as client:
        for check in (health, metadata, config, encodings, compression, together, requested, classes, engine):
            check(client, model, pinned)
            print("ok", check.__name__, flush=True)
        for check in (refusals, statistics, repository):
            check(client, model, pinned)
            print("ok", check.__name__, flush=True)


def health(client, model, _pinned):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.is_model_ready(model, "1")
    assert not client.is_model_ready("no-such-model")


def metadata(client, model, _pinned):
    server = client.get_server_metadata()
    assert server["name"] == "crosscheck", server
    for extension in ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"):
        assert extension in server["extensions"], extension
    described = client.get_model_metadata(model, "1")
    assert described["name"] == model and described["versions"] == ["1"], described
    assert described["inputs"] and described["outputs"] and described["platform"], described


def config(client, model, _pinned):
    configured = client.get_model_config(model)
    described = client.get_model_metadata(model)
    assert configured["name"] == model and configured["max_batch_size"] == 0, configured
    for ours, theirs in (("inputs", "input"), ("outputs", "output")):
        for tensor, entry in zip(described[ours], configured[theirs], strict=True):
            assert entry["name"] == tensor["name"], entry
            assert entry["data_type"] == "TYPE_" + tensor["datatype"], entry
            assert [int(size) for size in entry["dims"]] == tensor["shape"], entry


def inputs_of(client, model, binary, seed=7):
    random = np.random.default_rng(seed)
    made = []
    for tensor in client.get_model_metadata(model)["inputs"]:
        shape = [size if size > 0 else 1 for size in tensor["shape"]]
        data = random.random(shape).astype(triton_to_np_dtype(tensor["datatype"]))
        made.append(triton.InferInput(tensor["name"], shape, tensor["datatype"]))
        made[-1].set_data_from_numpy(data, binary_data=binary)
    return made


def output_names(client, model):
    return [tensor["name"] for tensor in client.get_model_metadata(model)["outputs"]]


def same(client, model, left, right):
    for name in output_names(client, model):
        np.testing.assert_array_equal(left.as_numpy(name), right.as_numpy(name))


def encodings(client, model, _pinned):
    reference = client.infer(model, inputs_of(client, model, True), request_id="mine")
    answer = reference.get_response()
    assert answer["id"] == "mine" and answer["model_name"] == model and answer["model_version"] == "1", answer
    assert answer["parameters"]["engine"], answer
    for binary_in in (True, False):
        for binary_out in (True, False):
            outputs = [
                triton.InferRequestedOutput(name, binary_data=binary_out) for name in output_names(client, model)
            ]
            same(client, model, reference, client.infer(model, inputs_of(client, model, binary_in), outputs=outputs))
    same(client, model, reference, client.infer(model, inputs_of(client, model, True), model_version="1"))


def compression(client, model, _pinned):
    reference = client.infer(model, inputs_of(client, model, True))
    for algorithm in ("gzip", "deflate"):
        for binary in (True, False):
            answer = client.infer(
                model,
                inputs_of(client, model, binary),
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )
            same(client, model, reference, answer)


def together(client, model, _pinned):
    seeds = range(16)
    alone = [client.infer(model, inputs_of(client, model, True, seed)) for seed in seeds]
    begun = [
        client.async_infer(model, inputs_of(client, model, True, seed), request_id=str(seed)) for seed in seeds
    ]
    for seed, reference, request in zip(seeds, alone, begun):
        answer = request.get_result()
        assert answer.get_response()["id"] == str(seed)
        same(client, model, reference, answer)


def requested(client, model, _pinned):
    [first, *_] = output_names(client, model)
    answer = client.infer(
        model,
        inputs_of(client, model, True),
        outputs=[triton.InferRequestedOutput(first)],
        timeout=30_000_000,
        priority=1,
        parameters={"own": "value"},
    )
    assert [output["name"] for output in answer.get_response()["outputs"]] == [first]


def classes(client, model, _pinned):
    [first, *_] = output_names(client, model)
    scores = client.infer(model, inputs_of(client, model, True)).as_numpy(first)
    rows = scores.reshape(scores.shape[0], -1)
    for binary in (True, False):
        wanted = triton.InferRequestedOutput(first, binary_data=binary, class_count=2)
        answer = client.infer(model, inputs_of(client, model, True), outputs=[wanted]).as_numpy(first)
        assert answer.shape == (rows.shape[0], 2), answer.shape
        for row, texts in zip(rows, answer):
            for index, text in zip(np.argsort(-row, kind="stable"), texts):
                text = text.decode() if isinstance(text, bytes) else text
                value, place, label = text.split(":", 2)
                assert int(place) == index and np.float32(value) == row[index] and label, text


def engine(client, model, pinned):
    answer = client.infer(model, inputs_of(client, model, True), parameters={"engine": pinned})
    assert answer.get_response()["parameters"]["engine"] == pinned


def refused(status, *words):
    class Expectation:
        def __enter__(self):
            return self

        def __exit__(self, _kind, error, _trace):
            assert isinstance(error, InferenceServerException), f"{words} was taken: {error!r}"
            assert error.status() == status, f"{error.status()} {error}"
            for word in words:
                assert word in error.message(), f"{word!r} is not in {error.message()!r}"
            return True

    return Expectation()


def refusals(client, model, _pinned):
    good = inputs_of(client, model, True)
    name = good[0].name()
    with refused("404", "no-such-model"):
        client.infer("no-such-model", good)
    with refused("404", "no-such-model"):
        client.get_model_metadata("no-such-model")
    with refused("404", "version"):
        client.infer(model, good, model_version="2")
    with refused("400", "no-such-output"):
        client.infer(model, good, outputs=[triton.InferRequestedOutput("no-such-output")])
    with refused("400", "sequence_id"):
        client.infer(model, good, sequence_id=5)
    with refused("400", "twice", name):
        client.infer(model, good + good)
    wrong = triton.InferInput(name, [7, 7], "FP32")
    wrong.set_data_from_numpy(np.zeros([7, 7], np.float32))
    with refused("400", "shape [7,7]", name):
        client.infer(model, [wrong])
    wrong = triton.InferInput(name, [1], "BYTES")
    wrong.set_data_from_numpy(np.array(["x"], dtype=np.object_))
    with refused("400", "BYTES", name):
        client.infer(model, [wrong])
    other = triton.InferInput("no-such-input", [1], "FP32")
    other.set_data_from_numpy(np.zeros([1], np.float32))
    with refused("400", "no-such-input"):
        client.infer(model, [other])
    assert client.infer(model, good) is not None


def statistics(client, model, _pinned):
    def success():
        [stat] = client.get_inference_statistics(model)["model_stats"]
        assert stat["name"] == model and stat["version"] == "1", stat
        for part in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
            assert set(stat["inference_stats"][part]) == {"count", "ns"}, stat
        return stat["inference_stats"]["success"]["count"]

    before = success()
    for _ in range(3):
        client.infer(model, inputs_of(client, model, True))
    assert success() == before + 3, (before, success())
    assert model in [stat["name"] for stat in client.get_inference_statistics()["model_stats"]]


def repository(client, model, _pinned):
    def state():
        [entry] = [entry for entry in client.get_model_repository_index() if entry["name"] == model]
        return entry["state"]

    assert state() == "READY"
    client.unload_model(model)
    assert state() == "UNAVAILABLE"
    assert not client.is_model_ready(model)
    with refused("404", model):
        client.infer(model, unloaded_input())
    with refused("400", "config"):
        client.load_model(model, config="{}")
    client.load_model(model)
    assert client.is_model_ready(model) and state() == "READY"
    assert client.infer(model, inputs_of(client, model, True)) is not None
    with refused("404", "no-such-model"):
        client.load_model("no-such-model")


def unloaded_input():
    tensor = triton.InferInput("any", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros([1], np.float32))
    return [tensor]


if __name__ == "__main__":
    main(*sys.argv[1:])
