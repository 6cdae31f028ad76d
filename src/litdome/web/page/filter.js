// A filter in words: `shift_px > 6 and not decided` becomes a test of an item.
import { DECIDED, KEPT, pairOf } from "./table.js";

const WORD = /\s*(>=|<=|==|!=|=|>|<|\(|\)|"[^"]*"|'[^']*'|[^\s()<>=!"']+)/y;
const COMPARE = {
  ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
  "==": (a, b) => a === b, "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};

export function parseFilter(text, table) {
  const words = split(text);
  if (!words.length) return () => true;
  let at = 0;
  const either = () => {
    let left = both();
    while (words[at] === "or") {
      at++;
      const [a, b] = [left, both()];
      left = item => a(item) || b(item);
    }
    return left;
  };
  const both = () => {
    let left = one();
    while (words[at] === "and") {
      at++;
      const [a, b] = [left, one()];
      left = item => a(item) && b(item);
    }
    return left;
  };
  const one = () => {
    const word = words[at++];
    if (word === undefined) throw new Error("the filter ends too early");
    if (word === "not") {
      const inner = one();
      return item => !inner(item);
    }
    if (word === "(") {
      const inner = either();
      if (words[at++] !== ")") throw new Error("a ) is missing");
      return inner;
    }
    if (!(words[at] in COMPARE)) return flag(word, table);
    const compare = COMPARE[words[at++]];
    if (words[at] === undefined) throw new Error(`${word} is compared with nothing`);
    return comparison(word, compare, words[at++].replace(/^(["'])(.*)\1$/, "$2"), table);
  };
  const found = either();
  if (at < words.length) throw new Error(`${words[at]} is not expected here; and, or?`);
  return found;
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

function flag(word, table) {
  const { state, reason, about } = table;
  const bit = about.reasons.indexOf(word);
  if (word === "kept") return item => (state[item] & KEPT) !== 0;
  if (word === "dropped") return item => (state[item] & KEPT) === 0;
  if (word === "decided") return item => (state[item] & DECIDED) !== 0;
  if (bit >= 0) return item => (reason[item] >> bit & 1) === 1;
  throw new Error(`no ${word}; words: kept, dropped, decided, ${about.reasons.join(", ")}`);
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
  const number = Number(value);
  if (value === "" || Number.isNaN(number)) throw new Error(`${name} is compared with ${value}, not with a number`);
  if (name === "pair") return item => compare(pairOf(table, item), number);
  if (!(name in values)) throw new Error(`no score ${name}; scores: ${Object.keys(values).join(", ")}`);
  const column = values[name];
  return item => compare(column[item], number) && !Number.isNaN(column[item]);
}
