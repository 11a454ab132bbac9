// @ts-check
// What could not be loaded is tried again by itself: after pauses that grow, and at once when the server is back. No
// page in here.
import {Problem} from "./api.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

/** @type {Set<Again>} */
const waiting = new Set();

/** Milliseconds after so many failures in a row. @param {number} failures */
export function pauseAfter(failures) {
  return Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE);
}

/** Whether the same question may be answered later. @param {number} status 0 for no answer at all */
export function passes(status) {
  return status === 0 || status === 408 || status === 429 || status >= 500;
}

/** @param {string} what was not loaded @param {number} status @param {string} why the server's own words, if it said some */
export function sentence(what, status, why = "") {
  const reason = why || (status ? `the server answers ${status}` : "the server does not answer");
  return `Could not load ${what}: ${reason}.${passes(status) ? " It is tried again by itself." : ""}`;
}

/**
 * What a question to the API ended with; whatever is no answer to one is thrown on.
 * @param {unknown} error @returns {{status: number, why: string}}
 */
export function outcome(error) {
  if (error instanceof Problem) return {status: error.status, why: error.message};
  if (error instanceof TypeError) return {status: 0, why: ""}; // no network
  throw error;
}

export class Again {
  /** @param {() => void} attempt whoever makes it says how it ended */
  constructor(attempt) {
    this._attempt = attempt;
    this._failures = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._later = undefined;
  }

  /** @param {number} status 0 for no answer; what cannot pass is left */
  failed(status) {
    this._rest();
    if (!passes(status)) return;
    this._failures++;
    this._later = setTimeout(() => this.now(), pauseAfter(this._failures));
    waiting.add(this);
  }

  worked() {
    this._rest();
    this._failures = 0;
  }

  now() {
    this._rest();
    this._attempt();
  }

  _rest() {
    clearTimeout(this._later);
    waiting.delete(this);
  }
}

/** Whatever waits is tried now. */
export function allAgain() {
  for (const own of [...waiting]) own.now();
}
