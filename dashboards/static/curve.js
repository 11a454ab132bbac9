// @ts-check
// One candidate's loss over FLOPs: a frame that came once, and columns.

/** @typedef {{x: (number | null)[], y: (number | null)[]}} Columns */
/** @typedef {{train: Columns, rungs: Columns, final: Columns}} Curve */
/** @typedef {{data: object[], layout: object}} Frame */

/**
 * The traces of one curve: training, rungs, final, end.
 * @param {Frame} frame @param {Curve} curve @param {Columns} end
 */
export function traces(frame, curve, end) {
  return [curve.train, curve.rungs, curve.final, end].map((own, place) => ({...frame.data[place], ...own}));
}

/** @param {Curve} curve */
export function isEmpty(curve) {
  return [curve.train, curve.rungs, curve.final].every(own => own.x.length === 0);
}
