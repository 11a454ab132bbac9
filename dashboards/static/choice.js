// @ts-check
// What a person chose to see of the front, as the address of the page has it. No page in here.

/**
 * ``by``: what counts as the front: "" for the search's objectives, "axes" for those drawn, or a third besides these.
 * ``zoom``: x from, x to, y from, y to, as the axes count.
 * @typedef {{
 *   x: string, y: string, by: string, log: boolean, limits: Record<string, number>, zoom: number[] | null
 * }} Choice
 */

export const LOSS = "val_bpb";

/**
 * @param {URLSearchParams} query @param {string[]} objectives of the search
 * @param {Record<string, unknown>} quantities that there are
 * @returns {Choice}
 */
export function readChoice(query, objectives, quantities) {
  const known = /** @param {string | null} name */ name => name !== null && Object.hasOwn(quantities, name) && name !== "test_bpb";
  const [first = "params"] = objectives.filter(name => name !== LOSS);
  const wanted = query.get("x");
  const x = wanted !== null && known(wanted) ? wanted : first;
  const asked = query.get("y");
  const y = asked !== null && known(asked) && asked !== x ? asked : x === LOSS ? first : LOSS;
  const by = query.get("front") ?? "";
  /** @type {Record<string, number>} */
  const limits = {};
  for (const [name, value] of query) {
    const own = name.slice(4);
    if (name.startsWith("max.") && known(own) && own !== LOSS && Number(value) > 0) limits[own] = Number(value);
  }
  const zoom = (query.get("zoom") ?? "").split(",").map(Number);
  return {
    x,
    y,
    by: by === "axes" || (known(by) && by !== x && by !== y) ? by : "",
    log: query.get("log") !== "0",
    limits,
    zoom: zoom.length === 4 && zoom.every(Number.isFinite) && zoom[0] < zoom[1] && zoom[2] < zoom[3] ? zoom : null,
  };
}

/**
 * The query with the choice in it; what else is in it stays.
 * @param {Choice} choice @param {URLSearchParams} query @param {string[]} objectives
 */
export function writeChoice(choice, query, objectives) {
  const kept = new URLSearchParams(query);
  for (const name of [...kept.keys()]) if (name.startsWith("max.")) kept.delete(name);
  const plain = readChoice(new URLSearchParams(), objectives, {[choice.x]: 1, [choice.y]: 1});
  const set = /** @param {string} name @param {string} value @param {boolean} usual */ (name, value, usual) => {
    if (usual) kept.delete(name);
    else kept.set(name, value);
  };
  set("x", choice.x, choice.x === plain.x);
  set("y", choice.y, choice.y === LOSS || (choice.x === LOSS && choice.y === plain.x));
  set("front", choice.by, choice.by === "");
  set("log", "0", choice.log);
  set("zoom", (choice.zoom ?? []).map(value => Number(value.toPrecision(6))).join(","), choice.zoom === null);
  for (const [name, value] of Object.entries(choice.limits)) kept.set(`max.${name}`, String(Number(value.toPrecision(6))));
  return kept;
}

/** What counts as the front. @param {Choice} choice @param {string[]} objectives of the search */
export function objectivesOf(choice, objectives) {
  if (choice.by === "") return objectives;
  return choice.by === "axes" ? [choice.x, choice.y] : [choice.x, choice.y, choice.by];
}
