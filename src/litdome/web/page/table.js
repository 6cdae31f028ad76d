// What the server knows of every pair. An item is one pair of one camera: item = camera * pairs + pair.

export const KEPT = 1, DECIDED = 2, UNSAVED = 4; // bits of a state; the last one lives only in this page

export async function ask(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) {
    const text = await answer.text();
    let said = { message: text || answer.statusText, hint: null };
    try { said = JSON.parse(text).error ?? said; } catch { /* not ours: plain words */ }
    const error = new Error(said.hint ? `${said.message} (${said.hint})` : said.message);
    error.status = answer.status;
    throw error;
  }
  return answer;
}

export async function loadTable() {
  const [about, bytes] = await Promise.all([
    ask("/api/session").then(answer => answer.json()),
    ask("/api/table").then(answer => answer.arrayBuffer()),
  ]);
  const items = about.cameras.length * about.pairs;
  let at = 0;
  const take = (kind, length) => {
    const part = new kind(bytes, at, length);
    at += part.byteLength;
    return part;
  };
  const values = Object.fromEntries(about.scores.map(score => [score.name, take(Float32Array, items)]));
  const hdri = take(Int32Array, about.pairs);
  const reason = take(Uint16Array, items);
  const table = { about, items, values, hdri, reason, state: new Uint8Array(items), rising: {} };
  await loadState(table);
  return table;
}

export async function loadState(table) {
  const bytes = await ask("/api/state").then(answer => answer.arrayBuffer());
  table.state.set(new Uint8Array(bytes));
}

// Items by rising score, those without one left out; sorted once, whatever is filtered.
export function risingBy(table, name) {
  const column = table.values[name];
  table.rising[name] ??= Uint32Array.from(column.keys()).filter(item => !Number.isNaN(column[item]))
    .sort((a, b) => column[a] - column[b] || a - b);
  return table.rising[name];
}

export const cameraOf = (table, item) => table.about.cameras[Math.floor(item / table.about.pairs)];
export const pairOf = (table, item) => item % table.about.pairs;
export const reasonsOf = (table, item) => table.about.reasons.filter((_, bit) => table.reason[item] >> bit & 1);
export const thumbAddress = (table, item) =>
  `/thumb/${encodeURIComponent(cameraOf(table, item).id)}/${pairOf(table, item)}?v=${table.about.version}`;

// drop or keep: by a person; auto: left out by measurement; "": kept by measurement.
export function markOf(state) {
  if (state & DECIDED) return state & KEPT ? "keep" : "drop";
  return state & KEPT ? "" : "auto";
}

export function shortNumber(value) {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
