// @ts-check
// What the front's page says around its figure: the title, the best model, the caption.
import {element, text} from "./elements.js";
import {bestSentence, captionLines, title} from "./sentences.js";

/** @typedef {import("./state.js").State} State */

const REST = 700; // milliseconds without a change before the sentence is read out

/** @param {State} state */
export function titleOf({found, objectives, choice, words}) {
  return title(found, objectives, choice.limits, words);
}

/** @param {State} state @param {{marks: number, candidates: number}} painted @param {boolean} coarse where no box can be dragged */
export function showCaption(state, painted, coarse) {
  const lines = captionLines(state, painted, coarse);
  const link = text("a", "table of the front", {href: "#members"});
  const other = text("a", "list of all candidates", {href: "#candidates-title"});
  element("front-caption").replaceChildren(`${lines.join(" ")} Everything is also in the `, link, " and in the ", other, ".");
}

/** The sentence changes at once for the eye; a reader is told when the slider rests. */
export class Best {
  /** @param {State} state */
  constructor(state) {
    this._state = state;
    this._now = "";
    /** @type {number | undefined} */
    this._heard = undefined;
  }

  show() {
    const {columns, found, choice, words} = this._state;
    const {before, number, after} = bestSentence(columns, found, choice.limits, words);
    const now = `${before}${number}${after}`;
    if (now === this._now) return;
    this._now = now;
    const place = element("best");
    const link = number === null ? [] : [text("a", `#${number}`, {href: this._state.address(`candidates/${number}`)})];
    place.replaceChildren(before, ...link, after);
    place.classList.toggle("note", found.trained > 0 && found.best < 0);
    clearTimeout(this._heard);
    this._heard = window.setTimeout(() => {
      element("best-said").textContent = place.textContent;
    }, REST);
  }
}
