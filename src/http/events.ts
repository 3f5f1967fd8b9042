import type { IncomingMessage, ServerResponse } from "node:http";
import type { EventsService } from "./services.ts";

/**
 * Server-sent events until the client goes. A client that does not read is cut off, not buffered for; its browser
 * comes back with Last-Event-ID and gets what is still remembered.
 */
export function streamEvents(
  events: EventsService,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    // nginx would hold events back.
    "x-accel-buffering": "no",
  });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  response.write(`retry: ${retryMs}\n\n`);

  const send = (text: string): void => {
    if (response.writableLength > maxBufferedBytes) response.destroy();
    else response.write(text);
  };
  const lastEventId = request.headers["last-event-id"];
  const unsubscribe = events.subscribe(
    ({ id, type, data }) => send(`id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`),
    typeof lastEventId === "string" ? lastEventId : undefined,
  );
  // Proxies close streams that are silent, and a dead peer shows only when written to.
  const heartbeat = setInterval(() => send(": alive\n\n"), heartbeatMs);
  heartbeat.unref();
  response.once("close", () => {
    clearInterval(heartbeat);
    unsubscribe();
  });
}

const retryMs = 2000;
const heartbeatMs = 15_000;
const maxBufferedBytes = 1024 * 1024;
