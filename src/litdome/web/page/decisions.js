// Decisions leave this page at once and in order. What the server has not confirmed stays in the browser's storage,
// is tried again, and is shown as not saved.
import { DECIDED, KEPT, UNSAVED, ask, cameraOf, loadState, pairOf } from "./table.js";

const AGAIN_MS = 2000, UNDO_STEPS = 500;

export class Decisions {
  constructor(table, { changed, says }) {
    this.table = table;
    this.changed = changed; // after states changed
    this.says = says; // (state, words): saved, saving or lost
    this.key = `litdome-unsaved-${table.about.id}`;
    this.undoKey = `litdome-undo-${table.about.id}`;
    this.waiting = JSON.parse(localStorage.getItem(this.key) ?? "[]");
    this.undoable = JSON.parse(sessionStorage.getItem(this.undoKey) ?? "[]");
    this.waiting.forEach(sent => this.lay(sent.changes, UNSAVED));
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
    this.waiting.push(sent);
    this.lay(sent.changes, UNSAVED);
    this.store();
    this.changed();
    this.flush();
  }

  async flush() {
    if (this.flushing) return;
    this.flushing = true;
    clearTimeout(this.timer);
    while (this.waiting.length) {
      this.says("saving", `saving ${this.waiting.length}`);
      const sent = this.waiting[0];
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
      this.store();
      this.lay(sent.changes, 0);
      this.waiting.forEach(later => this.lay(later.changes, UNSAVED));
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
  store() { localStorage.setItem(this.key, JSON.stringify(this.waiting)); }
  remember() { sessionStorage.setItem(this.undoKey, JSON.stringify(this.undoable)); }
}
