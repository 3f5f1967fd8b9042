import { hash } from "node:crypto";

/** What happened to which model, who or what asked, and on which evidence. */
export interface Decision {
  readonly type:
    | "switch"
    | "rollback"
    | "canary"
    | "hold"
    | "quarantine"
    | "unquarantine"
    | "failover"
    | "fallback"
    | "engineFailed"
    | "advice"
    | "repair";
  readonly model: string | null;
  readonly from: string | null;
  readonly to: string | null;
  /** manual: a person or program by API or command line; policy: the controller; health: a host or self-check. */
  readonly trigger: "manual" | "policy" | "health" | "startup";
  /** Name of the API key, or "loopback", "policy", "gateway". */
  readonly actor: string;
  readonly reason: string;
  /** Candidate states before and after, where the decision changed them. */
  readonly states?: Readonly<Record<string, { readonly from: string; readonly to: string }>>;
  /** Every rule's verdict that was looked at. */
  readonly verdicts?: readonly object[];
  /** Artifact digests of the engines named. */
  readonly artifacts?: Readonly<Record<string, string>>;
  /** Whatever else explains it: canary share, policy words, alpha. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A decision as it stands in the log. */
export interface LogEntry extends Decision {
  /** 1, 2, 3 ... without gaps. */
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** Real path of the model repository, as one store may have served several in turn. */
  readonly repository: string;
  /** `hash` of the entry before; 64 zeros for the first. */
  readonly prev: string;
  /** SHA-256, hexadecimal, of the line's JSON text up to and without this field. */
  readonly hash: string;
}

export const firstPrev = "0".repeat(64);

/** The log line of a decision: JSON whose last field is the hash of everything before it. */
export function sealEntry(
  decision: Decision,
  place: Pick<LogEntry, "seq" | "time" | "repository" | "prev">,
): { readonly entry: LogEntry; readonly line: string } {
  const { seq, time, repository, prev } = place;
  const body = { seq, time, repository, ...decision, prev };
  const text = JSON.stringify(body);
  const digest = hashOf(text);
  return { entry: { ...body, hash: digest }, line: `${text.slice(0, -1)},"hash":"${digest}"}` };
}

/** Takes a line apart; a string says what is wrong with it. Does not look at its neighbours. */
export function openLine(line: string): LogEntry | string {
  const match = /^(?<body>\{.*),"hash":"(?<hash>[0-9a-f]{64})"\}$/s.exec(line);
  if (!match?.groups) return "is not a log line (no hash at its end)";
  const { body, hash: digest } = match.groups as { body: string; hash: string };
  if (hashOf(`${body}}`) !== digest) return "was changed: its hash does not match its text";
  try {
    return JSON.parse(line) as LogEntry;
  } catch {
    return "is not JSON";
  }
}

function hashOf(text: string): string {
  return hash("sha256", text);
}
