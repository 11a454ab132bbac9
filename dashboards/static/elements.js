// @ts-check
// Elements of a page: those that it has, and new ones.

/** The element of that id, which must be there. @template {HTMLElement} T @param {string} id @returns {T} */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`#${id} is missing`);
  return /** @type {T} */ (found);
}

/** A new one. @param {string} tag @param {string} content @param {Record<string, unknown>} [more] */
export function text(tag, content, more = {}) {
  return Object.assign(document.createElement(tag), {textContent: content}, more);
}
