// @ts-check
// What the page of a front knows: what it was given, what a person chose, and what follows for the candidates that there
// are. Whoever shows a part of the page is given this; nobody keeps a copy. No page, no plotly in here.
import {LOSS, objectivesOf, readChoice, writeChoice} from "./choice.js";
import {NOTHING, find, place, standing} from "./scene.js";

/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {import("./scene.js").Words} Words */
/** @typedef {import("./scene.js").Found} Found */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {Record<string, any>} Trace */
/** @typedef {{search: string, objectives: string[], event: number, revision: number, frame: {data: Trace[], layout: any}}} Given */

export class State {
  /**
   * @param {Given} given @param {Words} words @param {URLSearchParams} query of the page's address
   * @param {{columns: Columns}} kept whose columns are replaced when they are loaded anew
   */
  constructor(given, words, query, kept) {
    this.given = given;
    this.words = words;
    this._kept = kept;
    this.quantities = Object.fromEntries(Object.entries(words.quantities).filter(([name]) => name !== "test_bpb"));
    this.choice = readChoice(query, given.objectives, this.quantities);
    /** Numbers of candidates. */
    this.compared = new Set(query.getAll("c").map(Number).filter(Number.isInteger));
    const sorted = query.get("sort") ?? "";
    /** Of the members: by which column. */
    this.order = {by: sorted.replace("-", ""), down: sorted.startsWith("-")};
    /** Groups of the key that are not wanted. @type {Set<string>} */
    this.hidden = new Set();
    /** @type {Found} */
    this.found = NOTHING;
    /** Rows of the columns. @type {Set<number>} */
    this.members = new Set();
    /** @type {Scene | null} */
    this._scene = null;
  }

  get columns() {
    return this._kept.columns;
  }

  /** Where everything stands; asked for after ``place``. */
  get scene() {
    if (!this._scene) throw new Error("nothing was placed yet");
    return this._scene;
  }

  /** What counts as the front. */
  get objectives() {
    return objectivesOf(this.choice, this.given.objectives);
  }

  get limited() {
    return Object.keys(this.choice.limits).length > 0;
  }

  /** Quantities that may be limited. */
  get costs() {
    return Object.fromEntries(Object.entries(this.quantities).filter(([name]) => name !== LOSS));
  }

  /** Finds the front within the limits. */
  find() {
    this.found = find(this.columns, this.objectives, this.choice.limits, this.words.outcomes);
    this.members = new Set(this.found.front);
  }

  /** Gives every candidate its place. */
  place() {
    this._scene = place(this.columns, this.choice, this.words);
  }

  /** @param {number} row */
  standing(row) {
    return this.members.has(row) ? "front" : standing(this.columns, row, this.words.outcomes);
  }

  /** The address of a page of this search. @param {string} rest */
  address(rest) {
    return `/searches/${encodeURIComponent(this.given.search)}/${rest}`;
  }

  /** All that was chosen, in the query of an address; what else is in it stays. @param {URLSearchParams} query */
  written(query) {
    const {choice, order, compared, given} = this;
    const own = writeChoice(choice, query, given.objectives);
    own.delete("c");
    for (const number of compared) own.append("c", String(number));
    if (order.by) own.set("sort", `${order.down ? "-" : ""}${order.by}`);
    else own.delete("sort");
    return own;
  }
}
