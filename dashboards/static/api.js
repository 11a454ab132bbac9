// @ts-check
/** What the API says is wrong (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {string} detail @param {string} field */
  constructor(status, detail, field = "") {
    super(detail);
    this.status = status;
    this.field = field;
  }
}

/** @returns {Record<string, string>} headers without which the server lets nobody change anything */
export function headers() {
  const csrf = /** @type {HTMLMetaElement | null} */ (document.querySelector("meta[name=csrf]"));
  return csrf ? {"X-CSRF-Token": csrf.content} : {};
}

/** @typedef {{method?: string, body?: unknown, signal?: AbortSignal, headers?: Record<string, string>}} Given */

/**
 * Asks the API; a problem is thrown. Whoever is not known any more is sent to the page where one logs in.
 * @param {string} path below ``/api/v1``
 * @param {Given} [given] the body is sent as JSON, or as a form where it is one
 * @returns {Promise<any>} the answer; ``null`` without content
 */
export function api(path, given = {}) {
  return ask(`/api/v1${path}`, given);
}

/**
 * As ``api``, of any path of this server.
 * @param {string} path @param {Given} given @returns {Promise<any>}
 */
export async function ask(path, given) {
  const {body, method = "GET"} = given;
  /** @type {Record<string, string>} */
  const sent = body === undefined || body instanceof FormData ? {} : {"Content-Type": "application/json"};
  const answer = await fetch(path, {
    method,
    body: body === undefined || body instanceof FormData ? body : JSON.stringify(body),
    signal: given.signal,
    headers: {...sent, ...(method === "GET" ? {} : headers()), ...given.headers},
  });
  if (answer.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!answer.ok) throw await problem(answer);
  return answer.status === 204 ? null : answer.json();
}

/** @param {Response} answer */
async function problem(answer) {
  try {
    const told = await answer.json();
    return new Problem(answer.status, told.detail ?? answer.statusText, told.field ?? "");
  } catch {
    return new Problem(answer.status, answer.statusText || "the server failed");
  }
}

/** Says something to whoever looks, or listens. @param {string} text */
export function say(text) {
  const place = document.getElementById("said");
  if (!place) return;
  place.textContent = text;
  place.classList.add("shown");
  setTimeout(() => place.classList.remove("shown"), 6000);
}
