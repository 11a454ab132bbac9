// @ts-check
// Quantities as people read them: what nas/units.py and dashboards/labels.py print, digit for digit.

/** @typedef {"count" | "flops" | "bytes" | "seconds" | "loss" | "milliseconds" | "share"} Kind */

/** @type {[number, string][]} */
const FLOPS = [
  [1e21, "ZFLOP"], [1e18, "EFLOP"], [1e15, "PFLOP"], [1e12, "TFLOP"],
  [1e9, "GFLOP"], [1e6, "MFLOP"], [1e3, "kFLOP"], [1, "FLOP"],
];
/** @type {[number, string][]} */
const BYTES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];
/** @type {[number, string][]} */
const COUNTS = [[1e9, "B"], [1e6, "M"], [1e3, "k"], [1, ""]];

/** @type {Record<Kind, (value: number) => string>} */
const FORMATS = {
  count: value => scaled(value, COUNTS).replace(" ", ""),
  flops: value => scaled(value, FLOPS),
  bytes: value => scaled(value, BYTES),
  seconds,
  loss,
  milliseconds: value => `${general(value, 3)} ms`,
  share: value => `${general(value * 100, 3)}%`,
};

/**
 * @param {string} kind as ``words()`` names it; an unknown one shows four digits
 * @param {number | null | undefined} value a dash where there is none
 */
export function format(kind, value) {
  if (value === null || value === undefined) return "—";
  const own = FORMATS[/** @type {Kind} */ (kind)];
  return own ? own(value) : general(value, 4);
}

/** ``2.134 ± 0.004``. @param {number | null | undefined} value @param {number | null | undefined} error */
export function withError(value, error) {
  if (value === null || value === undefined) return "—";
  return loss(value) + (error === null || error === undefined ? "" : ` ± ${fixed(error, 3)}`);
}

/** @param {number} value */
function loss(value) {
  return Number.isFinite(value) ? fixed(value, 3) : "not finite";
}

/** @param {number} value */
function seconds(value) {
  if (value < 0.9995) return `${fixed(value * 1000, 0)} ms`;
  if (Number(value.toPrecision(3)) < 60) return `${general(value, 3)} s`;
  const whole = Number(fixed(value, 0));
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  const minutes = Number(fixed(value / 60, 0));
  return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
}

/** @param {number} value @param {[number, string][]} scales from the largest */
function scaled(value, scales) {
  for (const [scale, name] of scales) {
    if (Math.abs(value) >= scale * 0.9995) { // what would be printed as 1000 of the next smaller unit
      const share = value / scale;
      return `${share < 999.5 ? general(share, 3) : fixed(share, 0)} ${name}`;
    }
  }
  return `${general(value, 3)} ${scales[scales.length - 1][1]}`;
}

/** Python's ``.{digits}g``. @param {number} value @param {number} digits */
export function general(value, digits) {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf").toLowerCase();
  if (value === 0) return "0";
  const [mantissa, power] = even(value.toExponential(digits - 1), value.toExponential(60)).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < digits) return String(Number(`${mantissa}e${power}`));
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return `${short}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** Python's ``.{digits}f``. @param {number} value @param {number} digits */
function fixed(value, digits) {
  return even(value.toFixed(digits), value.toFixed(60));
}

/**
 * What lies halfway goes to the even digit, as in Python, and not upwards as JavaScript has it.
 * @param {string} rounded @param {string} exact the same number with all its digits
 */
function even(rounded, exact) {
  const [digits, power] = exact.split("e");
  const point = rounded.split("e")[0].indexOf(".");
  const places = point < 0 ? 0 : rounded.split("e")[0].length - point - 1;
  const cut = digits.indexOf(".") + 1 + places;
  if (!/^50*$/.test(digits.slice(cut))) return rounded;
  const kept = digits.slice(0, places ? cut : cut - 1);
  if (Number(kept[kept.length - 1]) % 2) return rounded;
  return power === undefined ? kept : `${kept}e${power}`;
}

/** @type {Record<string, number>} */
const PREFIXES = {"": 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18, Z: 1e21};
/** @type {Record<string, number>} */
const CLOCK = {"": 1, ms: 0.001, s: 1, sec: 1, min: 60, h: 3600, d: 86400};

/**
 * What ``format`` printed, and what people write instead of it.
 * @param {string} kind @param {string} text
 * @returns {number | null} above 0; null for what is no such quantity
 */
export function parse(kind, text) {
  const pieces = [...text.trim().matchAll(/\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z%]*)/g)];
  if (!pieces.length || pieces.map(piece => piece[0]).join("") !== text.trim()) return null;
  if (pieces.length > 1 && kind !== "seconds") return null;
  let total = 0;
  for (const [, digits, unit] of pieces) {
    const scale = scaleOf(kind, unit);
    if (scale === null) return null;
    total += Number(digits) * scale;
  }
  return Number.isFinite(total) && total > 0 ? total : null;
}

/** @param {string} kind @param {string} unit @returns {number | null} */
function scaleOf(kind, unit) {
  const binary = /^([KMGT])iB$/.exec(unit);
  if (kind === "bytes" && binary) return 1024 ** ("KMGT".indexOf(binary[1]) + 1);
  if (kind === "bytes") return PREFIXES[unit.replace(/B$/, "")] ?? null;
  if (kind === "flops") return PREFIXES[unit.replace(/FLOP[sS]?$/, "")] ?? null;
  if (kind === "count") return unit === "B" ? 1e9 : PREFIXES[unit] ?? null;
  if (kind === "seconds") return CLOCK[unit] ?? null;
  if (kind === "milliseconds") return unit === "" || unit === "ms" ? 1 : unit === "s" ? 1000 : null;
  return unit === "" ? 1 : null;
}
