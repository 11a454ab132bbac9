// @ts-check
/**
 * What a page was given as JSON, in the script element of that id.
 * @template T
 * @param {string} id
 * @returns {T | null} ``null`` where there is no such element
 */
export function island(id) {
  const place = document.getElementById(id);
  return place ? JSON.parse(place.textContent ?? "null") : null;
}
