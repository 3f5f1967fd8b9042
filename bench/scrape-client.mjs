// Open-loop load for bench/scrape.ts: requests at a fixed rate, latency from the moment each was due.
// argv: URL, requests a second, seconds, scrapes a second (0: none). Prints {p50, p99, count} in milliseconds.
import { Agent, get } from "node:http";

const [url, rate, seconds, scrapes] = process.argv
  .slice(2)
  .map((value, at) => (at === 0 ? value : Number(value)));
const agent = new Agent({ keepAlive: true });
const latencies = [];
const begin = performance.now() + 100;
const total = rate * seconds;
let sent = 0;
let open = 0;

if (scrapes > 0)
  setInterval(() => get(`${url}/metrics`, { agent }, (reply) => reply.resume()), 1000 / scrapes).unref();

function request(due) {
  open += 1;
  get(`${url}/infer`, { agent }, (reply) => {
    reply.resume().on("end", () => {
      latencies.push(performance.now() - due);
      open -= 1;
      if (sent === total && open === 0) finish();
    });
  });
}

function tick() {
  for (; sent < total && begin + (sent * 1000) / rate <= performance.now(); sent += 1)
    request(begin + (sent * 1000) / rate);
  if (sent < total) setTimeout(tick, 1);
}
tick();

function finish() {
  latencies.sort((a, b) => a - b);
  const at = (p) => latencies[Math.ceil(p * latencies.length) - 1];
  console.log(JSON.stringify({ p50: at(0.5), p99: at(0.99), count: latencies.length }));
  process.exit(0);
}
