/** An answer of the gateway that is no success, with its own words. */
export class Refusal extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {string} path */
export function get(path) {
  return call(path, {});
}

/** @param {string} path @param {object} body */
export function post(path, body) {
  return call(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @returns {Promise<any>} the reply's JSON
 * @throws {Refusal} status 0 when there was no reply at all
 */
async function call(path, init) {
  const response = await fetch(path, init).catch(() => {
    throw new Refusal(0, "the gateway cannot be reached; nothing was changed as far as this page knows");
  });
  const reply = await response.json().catch(() => ({}));
  if (!response.ok)
    throw new Refusal(response.status, reply.error ?? `the gateway answered ${response.status}`);
  return reply;
}
