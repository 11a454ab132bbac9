// @ts-check
// What the list of searches computes, without a page.
const LIVE_SECONDS = 3, IDLE_SECONDS = 20, COMPARED = 2;

/** Whether to ask again. @param {number} since milliseconds @param {boolean} live whether something runs */
export function due(since, live) {
  return since >= 1000 * (live ? LIVE_SECONDS : IDLE_SECONDS);
}

/** @param {string} query @returns {string[]} ids of the searches that were chosen */
export function chosenIn(query) {
  return [...new Set(new URLSearchParams(query).getAll("s"))];
}

/**
 * A query with other searches chosen: the last two of them.
 * @param {string} query @param {string[]} chosen
 */
export function withChosen(query, chosen) {
  const found = new URLSearchParams(query);
  found.delete("s");
  for (const own of chosen.slice(-COMPARED)) found.append("s", own);
  const text = found.toString();
  return text ? `?${text}` : "";
}

/** What a screen reader says of a list that was filtered or sorted. @param {number} shown */
export function announcement(shown) {
  return shown === 0 ? "No searches" : shown === 1 ? "1 search" : `${shown} searches on this page`;
}
