// @ts-check
// Which of many candidates are drawn. No page, no plotly in here.

/** @typedef {import("./scene.js").Part} Part */

/**
 * The rows of each part that are drawn: of those that would cover each other and look alike, one. The grid becomes
 * coarser until they are few enough; what is out of sight is not drawn.
 * @param {Map<string, Part>} parts
 * @param {{x: number[], y: number[], logX: boolean, logY: boolean, width: number, height: number}} view ranges as the axes count
 * @param {(part: string, row: number) => string} look
 * @param {number} most
 * @returns {{parts: Map<string, Part>, drawn: number, candidates: number}} ``candidates``: in sight
 */
export function thin(parts, view, look, most) {
  const sights = [...parts].map(([name, part]) => seen(name, part, view, look));
  const candidates = sights.reduce((sum, own) => sum + own.places.length, 0);
  for (let cell = 4; ; cell *= 1.4) {
    const chosen = sights.map(own => ({name: own.name, places: one(own, cell)}));
    const drawn = chosen.reduce((sum, own) => sum + own.places.length, 0);
    if (drawn > most) continue;
    return {parts: new Map(chosen.map(own => [own.name, taken(/** @type {Part} */ (parts.get(own.name)), own.places)])), drawn, candidates};
  }
}

/** Places in a part of what is in sight, their pixels, and which sign each has. */
/** @typedef {{name: string, places: number[], x: number[], y: number[], looks: number[]}} Sight */

/**
 * @param {string} name @param {Part} part @param {Parameters<typeof thin>[1]} view @param {Parameters<typeof thin>[2]} look
 * @returns {Sight}
 */
function seen(name, part, view, look) {
  const found = /** @type {Sight} */ ({name, places: [], x: [], y: [], looks: []});
  const isRow = name.endsWith(" row");
  const signs = new Map();
  for (let place = 0; place < part.rows.length; place++) {
    const x = share(part.x[place], view.x, view.logX);
    const y = isRow ? 0 : share(part.y[place], view.y, view.logY);
    if (x < -0.02 || x > 1.02 || y < -0.02 || y > 1.02) continue;
    const sign = look(name, part.rows[place]);
    if (!signs.has(sign)) signs.set(sign, signs.size);
    found.places.push(place);
    found.x.push(x * view.width);
    found.y.push(y * view.height);
    found.looks.push(signs.get(sign));
  }
  return found;
}

/** The first of each cell and sign. @param {Sight} sight @param {number} cell in pixels */
function one(sight, cell) {
  const taken = new Set();
  return sight.places.filter((_, at) => {
    const key = ((Math.floor(sight.y[at] / cell) + 100) * 10000 + Math.floor(sight.x[at] / cell) + 100) * 16 + sight.looks[at];
    if (taken.has(key)) return false;
    taken.add(key);
    return true;
  });
}

/** @param {Part} part @param {number[]} places @returns {Part} */
function taken(part, places) {
  return {rows: places.map(at => part.rows[at]), x: places.map(at => part.x[at]), y: places.map(at => part.y[at])};
}

/** @param {number} value @param {number[]} range @param {boolean} log */
function share(value, [from, to], log) {
  return ((log ? Math.log10(value) : value) - from) / (to - from);
}
