// @ts-check
// The candidates of a search as columns, kept up with the server: ``nas:columns`` on the document when they have changed.
import {Again, outcome} from "./again.js";
import {api} from "./api.js";

/**
 * @typedef {{
 *   revision: number, number: number[], state: string[], origin: string[], val_bpb: (number | null)[],
 *   val_error: (number | null)[], test_bpb: (number | null)[], test_error: (number | null)[],
 *   last_bpb: (number | null)[], flops: number[], audited: boolean[], costs: Record<string, (number | null)[]>
 * }} Delta columns of equal length, as the API gives them
 */

const NAMES = /** @type {const} */ ([
  "number", "state", "origin", "val_bpb", "val_error", "test_bpb", "test_error", "last_bpb", "flops", "audited",
]);

export class Columns {
  constructor() {
    /** -1 before anything was loaded. */
    this.revision = -1;
    /** @type {number[]} */ this.number = [];
    /** @type {string[]} */ this.state = [];
    /** @type {string[]} */ this.origin = [];
    /** @type {(number | null)[]} */ this.val_bpb = [];
    /** @type {(number | null)[]} */ this.val_error = [];
    /** @type {(number | null)[]} */ this.test_bpb = [];
    /** @type {(number | null)[]} */ this.test_error = [];
    /** @type {(number | null)[]} */ this.last_bpb = [];
    /** @type {number[]} */ this.flops = [];
    /** @type {boolean[]} */ this.audited = [];
    /** @type {Record<string, (number | null)[]>} */ this.costs = {};
    /** @type {Map<number, number>} */ this._places = new Map();
  }

  get length() {
    return this.number.length;
  }

  /** Where a candidate stands in the columns; -1 where it is not. @param {number} number */
  place(number) {
    return this._places.get(number) ?? -1;
  }

  /**
   * The loss or a cost of all of them.
   * @param {string} name @returns {(number | null)[]}
   */
  values(name) {
    return name === "val_bpb" ? this.val_bpb : this.costs[name] ?? new Array(this.length).fill(null);
  }

  /** Costs that some candidate has. @returns {string[]} */
  known() {
    return Object.keys(this.costs).filter(name => this.costs[name].some(value => value !== null));
  }

  /**
   * Takes in what has changed.
   * @param {Delta} delta
   * @returns {number[]} the numbers in it
   */
  merge(delta) {
    delta.number.forEach((number, row) => {
      const at = this._places.get(number) ?? this.length;
      this._places.set(number, at);
      const own = /** @type {Record<string, unknown[]>} */ (/** @type {unknown} */ (this));
      for (const name of NAMES) own[name][at] = delta[name][row];
      for (const name of Object.keys(delta.costs)) {
        (this.costs[name] ??= new Array(at).fill(null))[at] = delta.costs[name][row];
      }
    });
    this.revision = delta.revision;
    return delta.number;
  }
}

/**
 * Loads the columns of a search, then what changes of them.
 * ``nas:columns`` has {columns, changed: numbers}; ``nas:columns-failed`` has {status, why}.
 * @param {string} search
 * @returns {{columns: Columns, refresh: () => Promise<void>}}
 */
export function keep(search) {
  const kept = {columns: new Columns(), refresh};
  const again = new Again(refresh);
  let busy = false;
  let wanted = false;

  async function refresh() {
    if (busy) {
      wanted = true;
      return;
    }
    busy = true;
    try {
      do {
        wanted = false;
        const {columns} = kept;
        const since = columns.revision < 0 ? "" : `?since_revision=${columns.revision}`;
        const first = columns.revision < 0;
        const changed = columns.merge(await api(`/searches/${encodeURIComponent(search)}/columns${since}`));
        if (first || changed.length) {
          document.dispatchEvent(new CustomEvent("nas:columns", {detail: {columns, changed}}));
        }
      } while (wanted);
      again.worked();
    } catch (error) {
      const detail = outcome(error);
      again.failed(detail.status);
      document.dispatchEvent(new CustomEvent("nas:columns-failed", {detail}));
    } finally {
      busy = false;
    }
  }

  document.addEventListener("nas:changed", event => {
    if (/** @type {CustomEvent} */ (event).detail.revision > kept.columns.revision) refresh();
  });
  document.addEventListener("nas:resync", () => {
    kept.columns = new Columns();
    refresh();
  });
  return kept;
}
