// @ts-check
// What the form of a new search computes, without a page: specs out of fields and back, what a forecast says.
import {format} from "./units.js";

const LOSS = "val_bpb";
const LONG = 2000;
const REFERENCES = ["corpus", "space"];
/** @type {Record<string, string>} what is shown where a spec says nothing, of fields that have no empty one */
const DEFAULTS = {"limits.export": "native", "method.choose": "best", "method.policy": "default"};

/** @typedef {Record<string, any>} Spec */
/** @typedef {Record<string, string | string[]>} Values by field; those of ``minimize`` are a list */
/** @typedef {{term: string, value: string, detail: string}} Fact */

/**
 * The spec that fields say. What the form has no field for stays as it is in ``base``; an empty field is none.
 * @param {Spec} base @param {Values} values @param {string[]} numbers fields that are numbers
 * @returns {Spec}
 */
export function specOf(base, values, numbers) {
  const spec = structuredClone(base);
  const before = valuesOf(base, Object.keys(values));
  for (const [field, value] of Object.entries(values)) {
    if (canonical(value) !== canonical(before[field])) set(spec, field, parsed(field, value, numbers));
  }
  return spec;
}

/** @param {Spec} spec @param {string} field @param {any} value ``undefined`` takes it away */
function set(spec, field, value) {
  const path = field.split(".");
  const last = /** @type {string} */ (path.pop());
  let own = spec;
  for (const name of path) {
    if (value === undefined && !isMapping(own[name])) return;
    own = own[name] = isMapping(own[name]) ? own[name] : {};
  }
  if (value === undefined) delete own[last];
  else own[last] = value;
  if (path.length && !Object.keys(own).length) set(spec, path.join("."), undefined);
}

/** @param {string} field @param {string | string[]} value @param {string[]} numbers */
function parsed(field, value, numbers) {
  if (typeof value !== "string") return value.includes(LOSS) ? value : [LOSS, ...value];
  const text = value.trim();
  if (text === "") return undefined;
  if (numbers.includes(field) && /^(0|[1-9]\d{0,14})(\.\d{1,15})?$/.test(text)) return Number(text);
  if (!REFERENCES.includes(field) || !text.startsWith("{")) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {any} value */
function isMapping(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the fields show of a spec. @param {Spec} spec @param {string[]} fields @returns {Values} */
export function valuesOf(spec, fields) {
  /** @type {Values} */
  const found = {};
  for (const field of fields) {
    /** @type {any} */
    let value = spec;
    for (const name of field.split(".")) value = isMapping(value) ? value[name] : undefined;
    if (field === "minimize") found[field] = Array.isArray(value) ? value.map(String) : [LOSS, "flops_per_byte"];
    else if (value === undefined || value === null) found[field] = DEFAULTS[field] ?? "";
    else found[field] = isMapping(value) ? canonical(value) : String(value);
  }
  return found;
}

/** JSON that is always the same, as the server writes it. @param {any} value @returns {string} */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isMapping(value)) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map(name => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/**
 * The address that fills the form like this again: what differs from where it began.
 * @param {Values} start @param {Values} now @param {Record<string, string>} origin such as ``{preset: "quick"}``
 */
export function address(start, now, origin) {
  const found = new URLSearchParams(origin);
  for (const [field, value] of Object.entries(now)) {
    if (canonical(value) === canonical(start[field])) continue;
    if (value.length > LONG) continue; // servers refuse long addresses
    for (const own of typeof value === "string" ? [value] : value) found.append(field, own);
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}

/**
 * The field of the form that a complaint about a field of a spec belongs to; empty for none.
 * @param {string} complaint such as ``budget.total`` or ``corpus.train`` @param {string[]} fields
 */
export function fieldFor(complaint, fields) {
  if (fields.includes(complaint)) return complaint;
  const parent = fields.find(own => complaint.startsWith(`${own}.`));
  return parent ?? fields.find(own => complaint && own.startsWith(`${complaint}.`)) ?? "";
}

/** A command that submits the same. @param {string} yaml @param {boolean} agreed */
export function command(yaml, agreed) {
  let end = "END";
  while (yaml.split("\n").includes(end)) end += "_";
  return `nas submit - ${agreed ? "--yes " : ""}<<'${end}'\n${yaml.replace(/\n*$/, "\n")}${end}\n`;
}

/** What is to be profiled for a spec. @param {Spec} spec */
export function profileOf(spec) {
  const kind = String(spec.device ?? "auto").split(":")[0];
  const parallel = Number(spec.method?.parallel ?? 1);
  return {device: ["cpu", "cuda"].includes(kind) ? kind : "auto", parallel: Number.isInteger(parallel) ? parallel : 1};
}

/** How often the text would be read, at most. @param {any} forecast */
export function epochs(forecast) {
  return Math.max(forecast.epochs ?? 0, forecast.final_epochs ?? 0);
}

/**
 * What a forecast says, the most wanted first.
 * @param {any} forecast @param {(seconds: number) => string} at the time so many seconds from now
 * @returns {Fact[]}
 */
export function facts(forecast, at) {
  const {fits, full_trainings: runs, seconds} = forecast;
  /** @type {Fact[]} */
  const found = [];
  if (fits) {
    found.push({
      term: "fit",
      value: `${format("count", fits.number)} of ${format("count", fits.size)} candidates`,
      detail: `${format("share", forecast.admitted_share)} of the space keep every limit`,
    });
    found.push(member("cheapest", fits.cheapest));
    if (fits.largest) found.push(member("largest", fits.largest));
  }
  found.push({
    term: "pays for",
    value: `${between(runs, value => value.toPrecision(3))} full trainings`,
    detail: `${forecast.binding} binds; stopping what cannot reach the front makes room for more`,
  });
  found.push({
    term: "text is read",
    value: `${times(forecast.epochs)} by a candidate`,
    detail: `${times(forecast.final_epochs)} by the final run`,
  });
  if (seconds?.predicted != null) {
    found.push({
      term: "ends",
      value: `in about ${between(seconds, value => format("seconds", value))}`,
      detail: `${at(seconds.predicted)}, if it begins now`,
    });
  }
  found.push({term: "device", value: forecast.device, detail: forecast.estimated ? "from its data sheet, not measured" : ""});
  return found;
}

/** @param {string} term @param {any} own @returns {Fact} */
function member(term, own) {
  const cost = `${format("flops", own.train_flops)} to train, ${format("bytes", own.memory_bytes)} of memory`;
  return {term, value: `${format("count", own.params)} parameters`, detail: `${own.words}; ${cost}`};
}

/** ``13 times``. @param {number} count */
export function times(count) {
  return `${Number(count.toPrecision(2))} times`;
}

/** @param {any} own @param {(value: number) => string} words */
function between(own, words) {
  if (own?.predicted == null) return "—";
  const range = own.low != null && own.high != null && own.low < own.high;
  return words(own.predicted) + (range ? ` (${words(own.low)} to ${words(own.high)})` : "");
}

/** What else it says. @param {any} forecast @returns {Fact[]} */
export function remarks(forecast) {
  /** @type {Fact[]} */
  const found = (forecast.fits?.broken ?? []).map((/** @type {any} */ own) => (
    {term: "refused by", value: `${own.limit}: ${format("share", own.share)}`, detail: `nearest: ${own.nearest}`}
  ));
  if (forecast.refused) found.push({term: "may be refused", value: forecast.refused, detail: ""});
  for (const own of forecast.notes ?? []) found.push({term: own.topic, value: own.line, detail: ""});
  return found;
}
