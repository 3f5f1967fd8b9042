import { createHash } from "node:crypto";
import { mkdir, open, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../core/errors.ts";

/**
 * Where builds grow: `<model>/engines/.staging-<key>`, on the repository's own file system, so that a finished engine
 * is moved into place by one rename. The key stands for the whole request; the same request finds an interrupted run
 * again, with the engines that are done and the work directory of the one that is not.
 */
export interface Staging {
  readonly directory: string;
  /** Engines that an interrupted run of the same request has put in place. */
  readonly done: readonly string[];
  addDone(id: string): Promise<void>;
  /** Kept work for the build at `index`. */
  workDirectory(index: number): Promise<string>;
  /** Time that interrupted attempts at the build at `index` took. */
  secondsSpent(index: number): number;
  addSeconds(index: number, seconds: number): Promise<void>;
  /** Emptied for every attempt. */
  outDirectory(index: number): Promise<string>;
  /** Leaves everything for the next run of the same request. */
  keep(): Promise<void>;
  /** Removes everything, the folders above too where this staging had to make them and nothing else lies there. */
  remove(): Promise<void>;
}

const recordSchema = z.object({ done: z.array(z.string()), seconds: z.record(z.string(), z.number()) });
type RunRecord = z.output<typeof recordSchema>;

/** @throws GatewayError `conflict` when the same request is being built by another process. */
export async function openStaging(engines: string, request: object): Promise<Staging> {
  const key = createHash("sha256").update(JSON.stringify(request)).digest("hex").slice(0, 16);
  const directory = join(engines, `.staging-${key}`);
  const firstMade = await mkdir(directory, { recursive: true });
  const lock = join(directory, "lock");
  await takeLock(lock);
  const recordFile = join(directory, "run.json");
  const { done, seconds } = await readRecord(recordFile);
  const save = (): Promise<void> => writeFile(recordFile, JSON.stringify({ request, done, seconds }));
  return {
    directory,
    done,
    async addDone(id) {
      done.push(id);
      await save();
    },
    secondsSpent: (index) => seconds[index] ?? 0,
    async addSeconds(index, more) {
      seconds[index] = (seconds[index] ?? 0) + more;
      await save();
    },
    async workDirectory(index) {
      const path = join(directory, `work-${index}`);
      await mkdir(path, { recursive: true });
      return path;
    },
    async outDirectory(index) {
      const path = join(directory, `out-${index}`);
      await rm(path, { recursive: true, force: true });
      await mkdir(path);
      return path;
    },
    async keep() {
      held.delete(lock);
      await rm(lock, { force: true });
    },
    async remove() {
      held.delete(lock);
      await rm(directory, { recursive: true, force: true });
      if (firstMade === undefined) return;
      // Upwards from the staging folder to the first one made; one that holds something stays.
      for (let path = dirname(directory); path.length >= firstMade.length; path = dirname(path)) {
        if (
          !(await rmdir(path).then(
            () => true,
            () => false,
          ))
        )
          return;
      }
    },
  };
}

async function readRecord(file: string): Promise<RunRecord> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    // Absent, or cut short when the machine went down: then nothing is known to be done.
    return { done: [], seconds: {} };
  }
}

/** Locks of this process: in a container a stale lock may well name the process number that one has now. */
const held = new Set<string>();

async function takeLock(lock: string): Promise<void> {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const file = await open(lock, "wx");
      await file.writeFile(String(process.pid));
      await file.close();
      held.add(lock);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = Number(await readFile(lock, "utf8").catch(() => ""));
    if (owner === process.pid ? held.has(lock) : isAlive(owner)) break;
    await rm(lock, { force: true });
  }
  const owner = await readFile(lock, "utf8").catch(() => "another process");
  throw new GatewayError(
    "conflict",
    `the same build is running already, process ${owner}; wait for it or stop it (lock: ${lock})`,
  );
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
