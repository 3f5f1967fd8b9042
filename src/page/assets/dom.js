/**
 * The few words of DOM that the page needs. Text goes in by textContent alone: names and reasons come from files and
 * clients, and the page's policy lets no string become markup.
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string | { class?: string, text?: string, [attribute: string]: string | undefined }} [about] text, or attributes
 * @param {...Node} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  const { text, ...attributes } = typeof about === "string" ? { text: about } : about;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * The element with this id, which index.html holds.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/**
 * @template {typeof HTMLElement} T
 * @param {T} kind
 * @param {string} id
 * @returns {InstanceType<T>}
 */
export function byKind(kind, id) {
  const element = byId(id);
  if (!(element instanceof kind)) throw new Error(`#${id} is no ${kind.name}`);
  return /** @type {InstanceType<T>} */ (element);
}

/**
 * The first match inside, which whoever asks has put there.
 *
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function inside(parent, selector) {
  const element = parent.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`nothing matches ${selector}`);
  return element;
}

/**
 * Writes only what changed, so that selections and screen readers are left alone.
 *
 * @param {Node} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string | undefined} value undefined removes the attribute
 */
export function attribute(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Makes `parent` hold one element an item, in order. Elements live as long as their keys, with focus and all.
 *
 * @template Item
 * @template {HTMLElement} E
 * @param {Element} parent
 * @param {readonly Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => E} create
 * @param {(element: E, item: Item) => void} update
 */
export function keep(parent, items, keyOf, create, update) {
  const kept = /** @type {Map<string, E>} */ (keptBy.get(parent) ?? new Map());
  keptBy.set(parent, kept);
  const keys = new Set(items.map(keyOf));
  for (const [key, element] of kept) {
    if (keys.has(key)) continue;
    element.remove();
    kept.delete(key);
  }
  /** @type {Element | null} */
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = kept.get(key) ?? create(item);
    kept.set(key, element);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    update(element, item);
  }
}

/** @type {WeakMap<Element, Map<string, HTMLElement>>} */
const keptBy = new WeakMap();

/**
 * A list of terms and values.
 *
 * @param {Element} dl
 * @param {readonly (readonly [term: string, value: string, tone?: string])[]} pairs
 */
export function figures(dl, pairs) {
  keep(
    dl,
    pairs,
    ([term]) => term,
    ([term]) => make("div", {}, make("dt", term), make("dd")),
    (div, [, value, tone]) => {
      const dd = inside(div, "dd");
      write(dd, value);
      attribute(dd, "data-tone", tone);
    },
  );
}
