import type { EngineInfo } from "../core/engine.ts";
import { byteSize } from "../core/tensor.ts";
import { readOutputs } from "./answer.ts";
import { expectAnswer, expectExit, type Check } from "./conformance-protocol.ts";
import { alignTensor, encodeInferPayload, type InferPayload, type TensorDescriptor } from "./descriptor.ts";
import { isStatic } from "./fit.ts";
import { brokenPeerExitCode, frameStatus, frameType } from "./frame.ts";
import { loadRaw, type RawEngine, type RawHost } from "./raw-host.ts";
import { layOut, outputSpace, smallestShape, type SlotLayout } from "./slot-layout.ts";

const { ok, badRequest, notLoaded, outputTooLarge } = frameStatus;
const { map, infer, ping, load, unload } = frameType;

/** What holds for a host with an engine in it. Inputs are zeros of the smallest shapes. */
export function engineChecks(engine: RawEngine, threads: number): Readonly<Record<string, Check>> {
  /** A check on a host that has loaded, with memory for two slots unless it says otherwise. */
  const loaded =
    (check: (context: Context) => Promise<void>, mapped = true): Check =>
    async (start) => {
      const host = await start();
      const info = await loadRaw(host, engine, threads);
      let layout = layoutOf(info, outputSpace(info));
      if (mapped) await mapMemory(host, 2 * layout.bytes);
      const run = async (base = 0): Promise<void> => {
        for (;;) {
          const begin = performance.now();
          host.send(infer, encodeInferPayload(shift(layout, base)));
          const { head, payload } = await host.receive();
          if (head.status === outputTooLarge) {
            // A dynamic output: make room as a gateway does.
            const { index, bytes } = JSON.parse(payload.toString()) as { index: number; bytes: number };
            const space = outputSpace(info).map((have, output) => (output === index ? bytes : have));
            if (bytes <= (layout.outputs[index]?.bytes ?? 0))
              throw new Error(`OUTPUT_TOO_LARGE for ${payload.toString()}`);
            layout = layoutOf(info, space);
            await mapMemory(host, base + 2 * layout.bytes);
            continue;
          }
          if (head.status !== ok)
            throw new Error(`INFER was answered with status ${head.status}: ${payload.toString()}`);
          readOutputs(info, layout.outputs, base, payload, host.file);
          const elapsed = (performance.now() - begin) * 1e6;
          if (head.engineNanoseconds <= 0 || head.engineNanoseconds > elapsed) {
            throw new Error(`engineNanoseconds ${head.engineNanoseconds} of ${elapsed} that passed`);
          }
          return;
        }
      };
      await check({ host, info, layout, run });
    };

  const refuses = (
    change: (layout: SlotLayout, info: EngineInfo, host: RawHost) => InferPayload | Buffer,
  ): Check =>
    loaded(async ({ host, info, layout, run }) => {
      const payload = change(layout, info, host);
      await expectAnswer(
        host,
        infer,
        badRequest,
        Buffer.isBuffer(payload) ? payload : encodeInferPayload(payload),
      );
      await run();
    });

  return {
    "loads and tells inputs and outputs": loaded(async () => {}, false),
    "answers a second LOAD with BAD_REQUEST": loaded(async ({ host }) => {
      await expectAnswer(host, load, badRequest, {
        manifest: {},
        artifact: "/dev/null",
        directory: "/",
        threads: 1,
        generation: 77,
      });
    }),
    "answers INFER before MAP with NOT_LOADED": loaded(async ({ host, layout }) => {
      await expectAnswer(host, infer, notLoaded, encodeInferPayload(layout));
    }, false),
    "runs and fills every output": loaded(async ({ run }) => {
      await run();
      await run();
    }),
    "runs on a mapping that has grown, at new places": loaded(async ({ host, layout, run }) => {
      await run();
      const base = alignTensor(host.file.bytes);
      await mapMemory(host, base + 2 * layout.bytes);
      await run(base);
      await run();
    }),
    "answers two requests in flight, in order": loaded(async ({ host, layout, run }) => {
      await run();
      const second = encodeInferPayload(shift(layout, layout.bytes));
      host.write(
        Buffer.concat([
          host.encode(infer, encodeInferPayload(layout)),
          host.encode(infer, second, { slot: 1 }),
        ]),
      );
      for (const slot of [0, 1]) {
        const { head } = await host.receive();
        if (head.slot !== slot) throw new Error(`an answer of slot ${head.slot} where ${slot} was due`);
      }
    }),
    "gives outputs in the order asked, and no others": loaded(async ({ host, info, layout }) => {
      for (const outputs of [layout.outputs.toReversed(), layout.outputs.slice(-1)]) {
        host.send(infer, encodeInferPayload({ inputs: layout.inputs, outputs }));
        const { head, payload } = await host.receive();
        if (head.status === ok) readOutputs(info, outputs, 0, payload, host.file);
        else if (head.status !== outputTooLarge)
          throw new Error(`status ${head.status}: ${payload.toString()}`);
      }
    }),
    "answers OUTPUT_TOO_LARGE with what is needed, and goes on": loaded(
      async ({ host, info, layout, run }) => {
        const index = info.outputs.findIndex(
          (spec) => isStatic(spec) && byteSize(spec.datatype, spec.shape) > 0,
        );
        if (index === -1) return;
        const outputs = layout.outputs.map((output) =>
          output.index === index ? { ...output, bytes: output.bytes - 1 } : output,
        );
        const payload = await expectAnswer(
          host,
          infer,
          outputTooLarge,
          encodeInferPayload({ ...layout, outputs }),
        );
        const answer = JSON.parse(payload.toString()) as { index: unknown; bytes: unknown };
        if (answer.index !== index || answer.bytes !== layout.outputs[index]?.bytes) {
          throw new Error(
            `it says ${payload.toString()}; output ${index} needs ${layout.outputs[index]?.bytes} bytes`,
          );
        }
        await run();
      },
    ),
    "refuses an input of another size": refuses((layout) =>
      changeInput(layout, ({ bytes }) => ({ bytes: bytes + 1 })),
    ),
    "refuses an input of another rank": refuses((layout) =>
      changeInput(layout, ({ shape }) => ({ shape: [...shape, 1] })),
    ),
    "refuses an input of another datatype": refuses((layout) =>
      changeInput(layout, ({ code }) => ({ code: code === 1 ? 2 : 1 })),
    ),
    "refuses an input that does not exist": refuses((layout) => changeInput(layout, () => ({ index: 999 }))),
    "refuses an output that does not exist": refuses((layout) => ({
      ...layout,
      outputs: layout.outputs.map((output) => ({ ...output, index: 999 })),
    })),
    "refuses a missing input": refuses((layout) => ({ ...layout, inputs: layout.inputs.slice(1) })),
    "refuses an input given twice": refuses((layout) => ({
      ...layout,
      inputs: [...layout.inputs, ...layout.inputs.slice(0, 1)],
    })),
    "refuses tensors outside of the shared file": refuses((layout, _, host) =>
      changeInput(layout, () => ({ offset: alignTensor(host.file.bytes) })),
    ),
    "refuses a payload that is cut short": refuses((layout) => encodeInferPayload(layout).subarray(0, -3)),
    "answers PING with an engine": loaded(async ({ host }) => {
      await expectAnswer(host, ping, ok);
    }),
    "exits with 70 on a wrong generation": loaded(async ({ host }) => {
      host.send(ping, undefined, { generation: 78 });
      await expectExit(host, brokenPeerExitCode);
    }),
    "exits at the end of file with an engine": loaded(async ({ host, run }) => {
      await run();
      host.hangUp();
      await host.exit();
    }),
    "answers UNLOAD and exits with 0 with an engine": loaded(async ({ host, run }) => {
      await run();
      await expectAnswer(host, unload, ok);
      await expectExit(host, 0);
    }),
  };
}

interface Context {
  readonly host: RawHost;
  readonly info: EngineInfo;
  readonly layout: SlotLayout;
  /** One INFER on zeros in slot 0, its answer checked. */
  readonly run: (base?: number) => Promise<void>;
}

async function mapMemory(host: RawHost, bytes: number): Promise<void> {
  host.file.grow(Math.max(bytes, host.file.bytes, 4096));
  await expectAnswer(host, map, ok, { bytes: host.file.bytes });
}

function layoutOf(info: EngineInfo, space: readonly number[]): SlotLayout {
  const outputs = info.outputs.map((_, index) => index);
  return layOut(info, info.inputs.map(smallestShape), outputs, space);
}

function shift(layout: SlotLayout, base: number): InferPayload {
  const move = (list: readonly TensorDescriptor[]) =>
    list.map((descriptor) => ({ ...descriptor, offset: descriptor.offset + base }));
  return { inputs: move(layout.inputs), outputs: move(layout.outputs) };
}

function changeInput(
  layout: SlotLayout,
  change: (input: TensorDescriptor) => Partial<TensorDescriptor>,
): InferPayload {
  const inputs = layout.inputs.map((input, position) =>
    position === 0 ? { ...input, ...change(input) } : input,
  );
  return { inputs, outputs: layout.outputs };
}
