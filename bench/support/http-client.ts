import { connect, type Socket } from "node:net";

/** One V2 request, ready to be sent again and again; its id is 10 digits that each sending fills in. */
export interface PreparedRequest {
  readonly bytes: Buffer;
  /** Where the id's digits lie in `bytes`; undefined when it carries none. */
  readonly idAt: number | undefined;
}

/** What came of the ids: every request sent must be answered once, by its own id. */
export interface IdTally {
  sent: number;
  answered: number;
  duplicated: number;
  foreign: number;
  engines: Record<string, number>;
}

export interface HttpClient {
  send(): Promise<void>;
  /** Opens connections, for arrivals that come whatever the server does: opening them in a jam would make it a longer one. */
  open(count: number): Promise<void>;
  readonly ids: IdTally;
  close(): void;
}

const idDigits = 10;

/** A request for POST `path`: JSON, or JSON (with its length in a header) and bytes. */
export function prepareRequest(path: string, json: string, binary?: Uint8Array): PreparedRequest {
  const text = Buffer.from(json);
  const length = text.byteLength + (binary?.byteLength ?? 0);
  const head = [
    `POST ${path} HTTP/1.1`,
    "host: 127.0.0.1",
    `content-type: application/${binary ? "octet-stream" : "json"}`,
    ...(binary ? [`inference-header-content-length: ${text.byteLength}`] : []),
    `content-length: ${length}`,
    "\r\n",
  ].join("\r\n");
  const bytes = Buffer.concat([Buffer.from(head), text, binary ?? new Uint8Array()]);
  const found = bytes.indexOf(idPlace);
  return { bytes, idAt: found < 0 ? undefined : found + '"id":"'.length };
}

/** What `prepareRequest` looks for in the JSON. */
export const idPlace = `"id":"${"0".repeat(idDigits)}"`;

/**
 * Keep-alive HTTP/1.1 straight on sockets: it takes as little as can be of a processor that it shares with the server
 * it measures. A connection per request in flight; replies must be 200 with a Content-Length.
 */
export function createHttpClient(port: number, request: PreparedRequest): HttpClient {
  const free: Connection[] = [];
  const all = new Set<Connection>();
  const ids: IdTally = { sent: 0, answered: 0, duplicated: 0, foreign: 0, engines: {} };
  /** By id, whether it was answered; grows, so that no request leaves garbage: a collection here would show as latency. */
  let seen = new Uint8Array(1 << 16);

  function onReply(id: number | undefined, sentId: number, engine: string | undefined): void {
    if (engine !== undefined) ids.engines[engine] = (ids.engines[engine] ?? 0) + 1;
    if (id === undefined) return;
    if (id !== sentId) ids.foreign += 1;
    if (id >= ids.sent) return;
    if (seen[id] === 1) ids.duplicated += 1;
    else ids.answered += 1;
    seen[id] = 1;
  }

  function add(): Connection {
    const connection = openConnection(port, request, onReply, (gone) => all.delete(gone));
    all.add(connection);
    return connection;
  }

  return {
    ids,
    async open(count) {
      while (all.size < count) free.push(add());
      await Promise.all([...all].map(({ opened }) => opened));
    },
    async send() {
      let connection = free.pop();
      // The server may have closed it meanwhile.
      while (connection && !all.has(connection)) connection = free.pop();
      connection ??= add();
      const id = ids.sent;
      ids.sent += 1;
      if (id >= seen.length) {
        const larger = new Uint8Array(2 * seen.length);
        larger.set(seen);
        seen = larger;
      }
      try {
        await connection.exchange(id);
      } finally {
        // A request that was turned away leaves it as it was.
        if (all.has(connection)) free.push(connection);
      }
    },
    close() {
      for (const connection of all) connection.close();
    },
  };
}

interface Connection {
  readonly opened: Promise<void>;
  exchange(id: number): Promise<void>;
  close(): void;
}

function openConnection(
  port: number,
  request: PreparedRequest,
  onReply: (id: number | undefined, sentId: number, engine: string | undefined) => void,
  onGone: (connection: Connection) => void,
): Connection {
  const socket: Socket = connect({ host: "127.0.0.1", port, noDelay: true });
  // One request is under way at a time, so one copy does for all of them.
  const bytes = Buffer.from(request.bytes);
  let waiting: { id: number; resolve: () => void; reject: (error: Error) => void } | undefined;
  let head: Buffer | undefined;
  let left = 0;

  function take(chunk: Buffer): void {
    if (left > 0) left -= chunk.byteLength;
    else {
      head = head === undefined ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const text = head.toString("latin1", 0, end).toLowerCase();
      const length = Number(/\r\ncontent-length: (\d+)/.exec(text)?.[1]);
      left = end + 4 + length - head.byteLength;
    }
    if (left > 0 || head === undefined) return;
    const status = head.toString("latin1", 9, 12);
    const reply = head;
    head = undefined;
    const { id, resolve, reject } = waiting ?? { id: -1, resolve: () => {}, reject: () => {} };
    waiting = undefined;
    // What follows would be taken for the next reply.
    if (left !== 0) socket.destroy();
    if (status !== "200" || left !== 0) {
      reject(new Error(`${status}: ${reply.toString("utf8", reply.indexOf("\r\n\r\n") + 4).slice(0, 200)}`));
      return;
    }
    const at = reply.indexOf('"id":"');
    const digits = at < 0 ? "" : reply.toString("latin1", at + 6, at + 6 + idDigits);
    const engineAt = reply.indexOf("crosscheck-engine: ");
    const engine =
      engineAt < 0 ? undefined : reply.toString("latin1", engineAt + 19, reply.indexOf("\r", engineAt));
    onReply(/^\d{10}$/.test(digits) ? Number(digits) : undefined, id, engine);
    resolve();
  }

  socket.on("data", take);
  socket.on("error", (error) => waiting?.reject(error));
  socket.on("close", () => {
    onGone(connection);
    waiting?.reject(new Error("the server closed the connection"));
  });
  const opened = new Promise<void>((resolve, reject) =>
    socket.once("connect", resolve).once("error", reject),
  );
  // Who sends on it is told as well.
  opened.catch(() => {});
  const connection: Connection = {
    opened,
    exchange: (id) =>
      new Promise((resolve, reject) => {
        waiting = { id, resolve, reject };
        if (request.idAt !== undefined)
          bytes.write(String(id).padStart(idDigits, "0"), request.idAt, "latin1");
        socket.write(bytes);
      }),
    close: () => socket.destroy(),
  };
  return connection;
}
