// @ts-check
// One stream for each tab: what changes in a search, told to whoever listens on the document.
//
// ``nas:changed`` {revision, state} at most once a second; ``nas:event`` with an event's record; ``nas:resync`` when the
// server has less than was heard of; ``nas:deleted`` when the search is not there any more. While the server does not
// answer, the page says so and the root element has ``data-stale``; ``nas:back`` when it answers again.

const SECOND = 1000;
const PATIENCE = 1500; // a server that restarts, or a network that blinks, is not told of
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;
const LOOK_AGAIN = 4000; // for a search that is paused or failed: somebody may resume it
const LOOK_SELDOM = 10000; // for one that is over: somebody may delete it
const FINAL = ["completed", "cancelled"];

/** @typedef {{revision: number, state: string}} Change */

/** @param {string} name @param {unknown} [detail] */
function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(name, {detail}));
}

/**
 * The last of what it is given, at most once in so many milliseconds; the first at once.
 * @template T @param {(value: T) => void} act @param {number} pause
 * @returns {(value: T) => void}
 */
export function throttled(act, pause) {
  let quiet = 0;
  /** @type {{value: T} | null} */
  let waiting = null;
  const give = () => {
    quiet = 0;
    if (!waiting) return;
    const {value} = waiting;
    waiting = null;
    quiet = Number(setTimeout(give, pause));
    act(value);
  };
  return value => {
    waiting = {value};
    if (!quiet) give();
  };
}

/**
 * @param {string} search
 * @param {number} [after] the number of the last event that the page has
 * @param {number} [made] the revision that the page was made at: it is not told of that
 * @returns {() => void} ends it
 */
export function follow(search, after = 0, made = -1) {
  const base = `/api/v1/searches/${encodeURIComponent(search)}`;
  const changed = throttled(/** @param {Change} detail */ detail => tell("nas:changed", detail), SECOND);
  let last = after;
  let known = ""; // whoever opens a stream again is told again
  let pause = FIRST_PAUSE;
  /** @type {EventSource | null} */
  let source = null;
  /** @type {number | undefined} */
  let again;
  /** @type {number | undefined} */
  let doubt;
  let broken = false;
  let over = false; // the server has ended the stream: nothing drives the search

  function open() {
    close();
    source = new EventSource(`${base}/events/stream?after=${last}`);
    source.addEventListener("open", () => {
      pause = FIRST_PAUSE;
      stale(false);
      if (broken) tell("nas:back");
      broken = false;
    });
    source.addEventListener("change", event => {
      const change = JSON.parse(event.data);
      if (event.data !== known && change.revision !== made) changed(change);
      known = event.data;
    });
    source.addEventListener("event", event => {
      last = Number(event.lastEventId);
      tell("nas:event", JSON.parse(event.data));
    });
    source.addEventListener("resync", () => {
      last = 0;
      known = "";
      made = -1;
      tell("nas:resync");
    });
    source.addEventListener("end", event => ended(JSON.parse(event.data).state));
    source.addEventListener("error", failed);
  }

  /** @param {string} state */
  function ended(state) {
    close();
    if (state === "deleted") tell("nas:deleted");
    else {
      over = true;
      again = window.setTimeout(look, FINAL.includes(state) ? LOOK_SELDOM : LOOK_AGAIN);
    }
  }

  /** After the end of the stream; a page that nobody looks at waits until somebody does. */
  function look() {
    if (over && !document.hidden) open();
  }

  /** The browser tries again by itself after a break, but not after an answer that is no stream. */
  async function failed() {
    broken = true;
    doubt ??= window.setTimeout(() => stale(true), PATIENCE);
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    try {
      const answer = await fetch(`${base}`, {method: "GET", cache: "no-store"});
      if (answer.status === 404) {
        stale(false);
        tell("nas:deleted");
        return;
      }
      if (answer.status === 401) location.reload(); // to where one logs in
    } catch {
      // not there yet
    }
    again = window.setTimeout(open, pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }

  /** @param {boolean} old */
  function stale(old) {
    clearTimeout(doubt);
    doubt = undefined;
    document.documentElement.toggleAttribute("data-stale", old);
    const note = document.getElementById("offline");
    if (note) note.hidden = !old;
  }

  function close() {
    over = false;
    clearTimeout(again);
    source?.close();
    source = null;
  }

  addEventListener("pagehide", close);
  addEventListener("pageshow", event => { if (event.persisted) open(); });
  addEventListener("focus", look);
  document.addEventListener("visibilitychange", look);
  open();
  return close;
}
