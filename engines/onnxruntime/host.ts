// The engine host of the onnxruntime family.
import { serveEngine } from "../../src/hosting/host.ts";
import { load } from "./engine.ts";

await serveEngine(load);
