// A filter in words: `shift_px > 6 and region == "hands"` becomes a test of an item. The same grammar as
// store/pair_filter.py; tests/filter_cases.json holds both to it.
import { DECIDED, KEPT, pairOf } from "./table.js";

const WORD = /\s*(>=|<=|==|!=|=|>|<|\(|\)|"[^"]*"|'[^']*'|[^\s()<>=!"']+)/y;
const NUMBER = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;
const COMPARE = {
  ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
  "==": (a, b) => a === b, "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};
const PLACES = ["camera", "hdri", "pair", "region"], DEEPEST = 50;
const has = (object, name) => Object.hasOwn(object, name);
const compares = word => has(COMPARE, word ?? "");
const quoted = word => word[0] === '"' || word[0] === "'";

export function parseFilter(text, table) {
  const words = split(text);
  if (!words.length) return () => true;
  const { regions } = table.about;
  let at = 0, depth = 0;
  // a part: `test(item, region)`, and the names that it compares
  const group = joint => {
    const inner = joint === "and" ? one : () => group("and");
    const parts = [inner()];
    while (words[at] === joint) {
      at++;
      parts.push(inner());
    }
    if (parts.length === 1) return parts[0];
    const test = joint === "and"
      ? (item, region) => parts.every(part => part.test(item, region))
      : (item, region) => parts.some(part => part.test(item, region));
    return { test, names: parts.flatMap(part => part.names) };
  };
  const one = () => {
    const word = words[at++];
    if (word === undefined) throw new Error("it ends too early");
    if (word === "not" || word === "(") {
      if (++depth > DEEPEST) throw new Error(`brackets and not are ${depth} deep, ${DEEPEST} at most`);
      const found = word === "not" ? not(one(), table) : group("or");
      if (word === "(" && words[at++] !== ")") throw new Error("a ) is missing");
      depth--;
      return found;
    }
    if (compares(word) || [")", "and", "or"].includes(word) || quoted(word)) {
      throw new Error(`${word} is not expected here; a score, a word or a bracket is`);
    }
    if (!compares(words[at])) return { test: flag(word, table), names: [] };
    const compare = COMPARE[words[at++]], value = words[at++];
    if (value === undefined || compares(value) || value === "(" || value === ")") {
      throw new Error(`${word} is compared with nothing`);
    }
    return { test: comparison(word, compare, quoted(value) ? value.slice(1, -1) : value, table), names: [word] };
  };
  const found = group("or");
  if (at < words.length) throw new Error(`${words[at]} is not expected here; and, or?`);
  if (!found.names.includes("region")) return item => found.test(item, null);
  if (!regions.length) throw new Error("no region was measured here");
  return item => regions.some(region => found.test(item, region));
}

// Over a region and its score it asks whether no region fits.
function not(part, { about, values }) {
  const regional = name => about.regions.some(region => has(values, `${region}_${name}`));
  if (!part.names.includes("region") || !part.names.some(regional)) {
    return { test: (item, region) => !part.test(item, region), names: part.names };
  }
  return {
    test: item => !about.regions.some(region => part.test(item, region)),
    names: part.names.filter(name => name !== "region"),
  };
}

function split(text) {
  const words = [];
  const whole = text.trimEnd();
  WORD.lastIndex = 0;
  while (WORD.lastIndex < whole.length) {
    const from = WORD.lastIndex;
    const found = WORD.exec(whole);
    if (!found) throw new Error(`not understood: ${whole.slice(from).trim()}`);
    words.push(found[1]);
  }
  return words;
}

function flag(word, { state, reason, about, values }) {
  const bit = about.reasons.indexOf(word);
  if (word === "kept") return item => (state[item] & KEPT) !== 0;
  if (word === "dropped") return item => (state[item] & KEPT) === 0;
  if (word === "decided") return item => (state[item] & DECIDED) !== 0;
  if (bit >= 0) return item => (reason[item] >> bit & 1) === 1;
  if (has(values, word) || PLACES.includes(word)) throw new Error(`${word} stands alone; compare it`);
  throw new Error(`no ${word} here; words: kept, dropped, decided, ${about.reasons.join(", ")}`);
}

function comparison(name, compare, value, table) {
  const { about, values, hdri } = table;
  if (name === "camera") {
    const rows = about.cameras.map(camera => compare(camera.id, value));
    return item => rows[Math.floor(item / about.pairs)];
  }
  if (name === "hdri") {
    const entries = about.hdris.map(entry => compare(entry, value));
    return item => entries[hdri[pairOf(table, item)]] ?? false;
  }
  if (name === "region") {
    if (!about.regions.includes(value)) throw new Error(`no region ${value} here; regions: ${about.regions.join(", ")}`);
    return (item, region) => compare(region, value);
  }
  if (name !== "pair" && !has(values, name)) {
    throw new Error(`no score ${name} here; scores: ${[...Object.keys(values), ...PLACES].join(", ")}`);
  }
  if (!NUMBER.test(value)) throw new Error(`${name} is compared with ${value}, not with a number`);
  if (name === "pair") return item => compare(pairOf(table, item), Number(value));
  const number = Math.fround(value); // scores are single precision
  return (item, region) => {
    const found = (values[`${region}_${name}`] ?? values[name])[item];
    return compare(found, number) && !Number.isNaN(found);
  };
}
