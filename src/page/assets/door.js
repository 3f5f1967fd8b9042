import { Refusal, post } from "./api.js";
import { byId, byKind, inside, write } from "./dom.js";

/** Name of the key that was signed in with; the key itself is kept nowhere, the session is an HttpOnly cookie. */
const nameKey = "crosscheck.signedIn";

/**
 * Asks for a key where the gateway wants one.
 *
 * @param {{ onOpened: () => void, onLeft: () => void }} options
 */
export function createDoor({ onOpened, onLeft }) {
  const door = byId("door");
  const content = byId("content");
  const key = byKind(HTMLInputElement, "key");
  const signOut = byId("signOut");

  function show() {
    door.hidden = false;
    content.hidden = true;
    signOut.hidden = sessionStorage.getItem(nameKey) === null;
  }

  inside(door, "form").addEventListener("submit", (event) => {
    event.preventDefault();
    void signIn();
  });
  signOut.addEventListener("click", () => void leave());

  async function signIn() {
    write(byId("doorError"), "");
    try {
      const { name } = await post("v1/login", { key: key.value });
      key.value = "";
      sessionStorage.setItem(nameKey, name);
      onOpened();
    } catch (error) {
      write(byId("doorError"), error instanceof Refusal ? error.message : String(error));
      key.focus();
    }
  }

  async function leave() {
    await post("v1/logout", {}).catch(() => undefined);
    sessionStorage.removeItem(nameKey);
    onLeft();
  }

  return {
    /** @param {number} status 401: no session. 403: one that may not. @param {string} words the gateway's own */
    ask(status, words) {
      write(byId("doorWords"), status === 403 ? "" : "This gateway wants a key.");
      write(byId("doorError"), status === 403 ? words : "");
      show();
      key.focus();
    },
    /** The stream is open: whoever is there may see everything. */
    opened() {
      door.hidden = true;
      content.hidden = false;
      const name = sessionStorage.getItem(nameKey);
      signOut.hidden = name === null;
      if (name !== null) write(signOut, `Sign out ${name}`);
    },
  };
}
