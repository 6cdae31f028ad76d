// Decisions leave this page at once and in order. What the server has not confirmed stays in the browser's storage,
// each under its own key, is tried again, and is shown as not saved. A page takes over what closed pages left, never
// what another open page is still sending: an open page holds a lock of its name.
import { DECIDED, KEPT, UNSAVED, ask, cameraOf, loadState, pairOf } from "./table.js";

const AGAIN_MS = 2000, UNDO_STEPS = 500;

export class Decisions {
  constructor(table, { changed, says }) {
    this.table = table;
    this.changed = changed; // after states changed
    this.says = says; // (state, words): saved, saving or lost
    this.keys = `litdome-unsaved-${table.about.id}/`;
    this.page = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.undoKey = `litdome-undo-${table.about.id}`;
    this.waiting = []; // {key in the browser's storage, sent}, in the order they leave
    this.undoable = JSON.parse(sessionStorage.getItem(this.undoKey) ?? "[]");
    this.takeOver();
  }

  async takeOver() {
    let open = []; // without locks (a page that is not from this machine) all of it is taken over
    if (navigator.locks) {
      navigator.locks.request(this.keys + this.page, () => new Promise(() => {}));
      open = (await navigator.locks.query()).held.map(({ name }) => name);
    }
    const pageOf = key => key.slice(0, key.lastIndexOf("/")), at = key => Number(key.slice(key.lastIndexOf("/") + 1));
    const left = Object.keys(localStorage).filter(key => key.startsWith(this.keys) && !open.includes(pageOf(key)));
    const orphans = left.filter(key => pageOf(key) !== this.keys + this.page).sort((a, b) => at(a) - at(b));
    this.waiting.unshift(...orphans.map(key => ({ key, sent: JSON.parse(localStorage.getItem(key)) })));
    this.ready = true;
    this.layWaiting();
    this.changed();
    this.flush();
  }

  decide(items, action, reason) {
    const before = this.changes(items, item => (this.table.state[item] & KEPT ? "keep" : "drop"));
    this.undoable = [...this.undoable, { changes: before, reason: `undo: ${reason}`.slice(0, 300) }].slice(-UNDO_STEPS);
    this.remember();
    this.send({ changes: this.changes(items, () => action), reason });
  }

  // Takes the last step back by deciding as it was before; gives an item that it concerns, or null.
  undo() {
    const last = this.undoable.pop();
    if (!last) return null;
    this.remember();
    this.send(last);
    const { camera, pairs } = last.changes[0];
    return this.row(camera) * this.table.about.pairs + pairs[0][0];
  }

  send(sent) {
    const key = `${this.keys}${this.page}/${this.last = Math.max(Date.now(), (this.last ?? 0) + 1)}`;
    localStorage.setItem(key, JSON.stringify(sent));
    this.waiting.push({ key, sent });
    this.lay(sent.changes, UNSAVED);
    this.changed();
    this.flush();
  }

  async flush() {
    if (this.flushing || !this.ready) return;
    this.flushing = true;
    clearTimeout(this.timer);
    while (this.waiting.length) {
      this.says("saving", `saving ${this.waiting.length}`);
      const { key, sent } = this.waiting[0];
      try {
        const headers = { "Content-Type": "application/json" };
        await ask("/api/decide", { method: "POST", headers, body: JSON.stringify(sent) });
      } catch (error) {
        if (error.status !== 400) {
          this.says("lost", `${this.waiting.length} not saved`, `Not saved, kept in this page and tried again: ${error.message}`);
          this.timer = setTimeout(() => this.flush(), AGAIN_MS);
          break;
        }
        this.undoable = [];
        this.remember();
        await loadState(this.table);
        this.says("lost", "refused", `Refused: ${error.message}`);
      }
      this.waiting.shift();
      localStorage.removeItem(key);
      this.lay(sent.changes, 0);
      this.layWaiting();
      if (!this.waiting.length) this.says("saved", "all saved");
    }
    this.flushing = false;
    this.changed();
  }

  // Items as changes: by camera and action, ranges of pairs.
  changes(items, actionOf) {
    const found = new Map();
    for (const item of Array.from(items).sort((a, b) => a - b)) {
      const camera = cameraOf(this.table, item).id, pair = pairOf(this.table, item), action = actionOf(item);
      const key = `${action} ${camera}`;
      if (!found.has(key)) found.set(key, { action, camera, pairs: [] });
      const { pairs } = found.get(key);
      if (pairs.length && pairs.at(-1)[1] === pair) pairs.at(-1)[1]++;
      else pairs.push([pair, pair + 1]);
    }
    return [...found.values()];
  }

  lay(changes, bit) {
    const { state, about } = this.table;
    for (const { action, camera, pairs } of changes) {
      const value = (action === "keep" ? KEPT : 0) | DECIDED | bit, first = this.row(camera) * about.pairs;
      for (const [start, stop] of pairs) state.fill(value, first + start, first + stop);
    }
  }

  row(camera) { return this.table.about.cameras.findIndex(({ id }) => id === camera); }
  layWaiting() { this.waiting.forEach(({ sent }) => this.lay(sent.changes, UNSAVED)); }
  remember() { sessionStorage.setItem(this.undoKey, JSON.stringify(this.undoable)); }
}
