// Puts the page together: what is shown, and what the keys do.
import { Decisions } from "./decisions.js";
import { parseFilter } from "./filter.js";
import { Grid } from "./grid.js";
import { Histogram } from "./histogram.js";
import { Single } from "./single.js";
import { DECIDED, KEPT, ask, loadState, loadTable, risingBy } from "./table.js";

const BLINK_MS = 400;
const ALL_AT_ONCE = 1_000_000; // items above which the page begins with one camera
const VIEWS = [
  ["flat", "f"], ["relit", "r"], ["blink", "b"], ["difference", "d"], ["mask", "m"], ["compensated", "c"],
  ["next_flat", "n"], ["flow", "w"],
];
const IN_GRID = ["flat", "relit", "blink"];
const get = id => document.getElementById(id);
const count = number => number.toLocaleString("en");

history.replaceState(null, "", "/"); // the token stays in the cookie only
let table, grid, single, histogram, decisions, base, view = "relit";

start().catch(error => wrong(error.message));

async function start() {
  table = await loadTable();
  const { about } = table;
  document.title = `${about.name} · litdome review`;
  get("name").textContent = about.name;
  get("name").title = about.url;
  const every = new Option("all", "");
  get("camera").replaceChildren(every, ...about.cameras.map(({ id }) => new Option(id, id)));
  if (about.cameras.length === 1 || table.items > ALL_AT_ONCE) get("camera").value = about.cameras[0].id;
  get("score").replaceChildren(new Option("time", ""), ...about.scores.map(({ name }) => new Option(name, name)));
  get("views").replaceChildren(...VIEWS.map(([name, key]) => viewButton(name, key)));
  single = new Single(table, { root: get("single"), below: get("below"), above: get("above"), missing: get("missing"), facts: get("facts") });
  grid = new Grid(table, { root: get("grid"), height: get("height"), tiles: get("tiles"), opened: toggle, moved: showSingle });
  histogram = new Histogram(table, get("histogram"), showThreshold);
  decisions = new Decisions(table, { changed: redraw, says: saved });
  listen();
  choose();
  setView("relit");
  setInterval(() => document.body.classList.toggle("second", view === "blink" && !document.body.matches(".second")), BLINK_MS);
  get("grid").focus();
}

function listen() {
  for (const id of ["camera", "score"]) get(id).onchange = () => { choose(); get(id).blur(); };
  get("filter").onchange = () => choose();
  get("filter").oninput = () => { if (!get("filter").value) choose(); };
  get("side").onclick = () => histogram.flip();
  get("clear").onclick = () => histogram.clear();
  get("drop-these").onclick = dropThese;
  get("ask").onclick = () => get("help").showModal();
  addEventListener("keydown", pressed);
  addEventListener("focus", () => refresh());
  addEventListener("beforeunload", event => { if (decisions.waiting.length) event.preventDefault(); });
}

// Which items are shown: camera and filter, by score or in the order of time.
function choose() {
  const { about, items, values } = table;
  let fits;
  try {
    fits = parseFilter(get("filter").value, table);
  } catch (error) {
    get("filter").setAttribute("aria-invalid", "true");
    wrong(error.message);
    return;
  }
  get("filter").removeAttribute("aria-invalid");
  wrong("");
  const row = about.cameras.findIndex(({ id }) => id === get("camera").value);
  const [start, stop] = row < 0 ? [0, items] : [row * about.pairs, (row + 1) * about.pairs];
  const found = new Uint32Array(stop - start);
  let length = 0;
  for (let item = start; item < stop; item++) if (fits(item)) found[length++] = item;
  const shown = found.slice(0, length);
  const score = about.scores.find(({ name }) => name === get("score").value) ?? null;
  const measured = score ?? about.scores[0];
  const column = values[measured.name];
  const among = new Uint8Array(items);
  for (const item of shown) among[item] = 1;
  const rising = risingBy(table, measured.name).filter(item => among[item]);
  base = shown;
  if (score) { // the doubtful ones first; what was not measured comes last
    base = new Uint32Array(length);
    base.set(score.low_is_bad ? rising : rising.slice().reverse());
    base.set(shown.filter(item => Number.isNaN(column[item])), rising.length);
  }
  histogram.show(rising, measured);
  grid.show(base, measured.name, false);
  tell();
}

function showThreshold() {
  const { beyond } = histogram;
  grid.show(beyond ?? base, histogram.score.name, !beyond);
  tell();
}

function redraw() {
  if (!grid) return;
  grid.draw();
  tell();
}

// What is shown in numbers, and what the threshold would do.
function tell() {
  let kept = 0, decided = 0;
  for (const item of base ?? []) {
    kept += table.state[item] & KEPT;
    decided += (table.state[item] & DECIDED) >> 1;
  }
  get("counts").textContent = `${count(base?.length ?? 0)} shown: ${count(kept)} kept, ${count((base?.length ?? 0) - kept)} not, ${count(decided)} by hand`;
  const { beyond } = histogram, changes = beyond ? histogram.kept(beyond) : 0;
  const share = kept ? ` (${(100 * changes / kept).toFixed(1)}\u00a0%)` : "";
  get("would").textContent = beyond
    ? `${histogram.words}: ${count(beyond.length)} pairs; drops ${count(changes)} that are kept${share}`
    : `drag in the histogram of ${histogram.score?.name ?? ""} to set a threshold`;
  get("drop-these").disabled = !changes;
  get("clear").disabled = !beyond;
  get("side").textContent = histogram.below ? "drops below" : "drops above";
  showSingle();
}

function showSingle() {
  if (!single || get("single").hidden) return;
  const next = [1, 2].map(step => grid.items[grid.at + step]).filter(item => item !== undefined);
  single.show(grid.item, next, view, document.body.classList.contains("whole"));
}

function toggle() {
  const open = get("single").hidden;
  get("single").hidden = !open;
  get("grid").hidden = open;
  if (!open && !IN_GRID.includes(view)) setView("relit");
  setView(view);
  if (!open) grid.go(grid.at);
  (open ? get("stage") : get("grid")).focus();
}

function setView(name) {
  if (name !== "blink" && !table.about.views.includes(name)) return;
  if (get("single").hidden && !IN_GRID.includes(name)) {
    view = name;
    toggle();
    return;
  }
  view = name;
  document.body.dataset.view = name;
  for (const button of get("views").children) button.setAttribute("aria-pressed", String(button.dataset.view === name));
  showSingle();
}

function viewButton(name, key) {
  const button = document.createElement("button"), hint = document.createElement("kbd");
  hint.textContent = key;
  button.append(name.replace("_", " "), hint);
  button.dataset.view = name;
  button.disabled = name !== "blink" && !table.about.views.includes(name);
  button.onclick = () => { setView(name); button.blur(); };
  return button;
}

function decide(action) {
  if (grid.item === null) return;
  decisions.decide([grid.item], action, reason());
  grid.move(1);
}

function undo() {
  const item = decisions.undo();
  const place = item === null ? -1 : grid.items.indexOf(item);
  if (place >= 0) grid.go(place);
}

function dropThese() {
  const { beyond } = histogram;
  if (!beyond) return;
  const kept = beyond.filter(item => table.state[item] & KEPT);
  if (!kept.length) return;
  const given = reason();
  decisions.decide(kept, "drop", given === "looked at" ? histogram.words : `${given}: ${histogram.words}`);
}

const reason = () => get("reason").value.trim() || "looked at";

// What others decided meanwhile.
async function refresh() {
  if (decisions.waiting.length) return;
  try {
    await loadState(table);
  } catch (error) {
    wrong(error.message);
    return;
  }
  if (!decisions.waiting.length) redraw();
}

function saved(state, words, more = "") {
  get("saved").dataset.state = state;
  get("saved").textContent = words;
  wrong(more);
}

function wrong(words) {
  get("wrong").textContent = words;
  get("wrong").hidden = !words;
}

const KEYS = {
  j: () => grid.move(1), ArrowRight: () => grid.move(1),
  k: () => grid.move(-1), ArrowLeft: () => grid.move(-1),
  ArrowDown: () => grid.move(get("single").hidden ? grid.columns : 1),
  ArrowUp: () => grid.move(get("single").hidden ? -grid.columns : -1),
  PageDown: () => grid.move(grid.columns * Math.max(1, Math.floor(grid.root.clientHeight / grid.tall))),
  PageUp: () => grid.move(-grid.columns * Math.max(1, Math.floor(grid.root.clientHeight / grid.tall))),
  Home: () => grid.go(0), End: () => grid.go(grid.items.length - 1),
  x: () => decide("drop"), " ": () => decide("keep"), u: undo,
  g: toggle, Enter: toggle,
  l: () => document.body.classList.toggle("bright"),
  z: () => { document.body.classList.toggle("whole"); showSingle(); },
  "[": () => histogram.nudge(-1), "]": () => histogram.nudge(1), D: dropThese,
  "/": () => get("filter").focus(), "?": () => get("help").showModal(),
  Escape: () => { if (histogram.threshold !== null) histogram.clear(); else if (!get("single").hidden) toggle(); },
  ...Object.fromEntries(VIEWS.map(([name, key]) => [key, () => setView(name)])),
  ...Object.fromEntries([1, 2, 3, 4, 5, 6].map(n => [String(n), () => { get("reason").value = get("reasons").options[n - 1].value; }])),
};

function pressed(event) {
  if (get("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select");
  if (typing) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.matches("input"))) event.target.blur();
    return;
  }
  if (event.target.matches("button") && (event.key === " " || event.key === "Enter")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}
