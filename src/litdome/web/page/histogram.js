// The histogram of a score over the pairs shown, and a threshold on it that can be dragged.
import { KEPT, shortNumber } from "./table.js";

const BINS = 96, TAIL = 0.002, AXIS_PX = 16;

export class Histogram {
  constructor(table, canvas, moved) {
    Object.assign(this, { table, canvas, moved, threshold: null, beyond: null, below: false, sorted: new Uint32Array(0) });
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      this.drag(event);
    });
    canvas.addEventListener("pointermove", event => { if (event.buttons & 1) this.drag(event); });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // `sorted`: items by rising score, those without one left out.
  show(sorted, score) {
    Object.assign(this, { sorted, score, threshold: null, beyond: null, below: score.low_is_bad });
    this.column = this.table.values[score.name];
    const at = part => this.column[sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]];
    [this.low, this.high] = sorted.length ? [at(TAIL), at(1 - TAIL)] : [0, 1];
    if (this.high <= this.low) this.high = this.low + (Math.abs(this.low) || 1);
    const pad = (this.high - this.low) * 0.02; // room to draw the threshold beyond every pair
    [this.low, this.high] = [this.low < 0 ? this.low - pad : Math.max(0, this.low - pad), this.high + pad];
    this.bins = new Uint32Array(BINS);
    for (const item of sorted) this.bins[this.binOf(this.column[item])]++;
    this.draw();
  }

  binOf(value) {
    return Math.min(BINS - 1, Math.max(0, Math.floor((value - this.low) / (this.high - this.low) * BINS)));
  }

  // Items beyond the threshold, the doubtful ones nearest to it first; null without one.
  findBeyond() {
    if (this.threshold === null) return null;
    const threshold = Math.fround(this.threshold); // as scores are, and filters compare
    let [low, high] = [0, this.sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1, value = this.column[this.sorted[middle]];
      if (this.below ? value < threshold : value <= threshold) low = middle + 1;
      else high = middle;
    }
    return this.below ? this.sorted.slice(0, low).reverse() : this.sorted.subarray(low);
  }

  get words() { return `${this.score.name} ${this.below ? "<" : ">"} ${this.threshold}`; }

  drag(event) {
    const box = this.canvas.getBoundingClientRect();
    this.set(this.low + (this.high - this.low) * (event.clientX - box.left) / box.width);
  }

  nudge(bins) {
    const from = this.threshold ?? (this.below ? this.low : this.high);
    this.set(from + bins * (this.high - this.low) / BINS);
  }

  // A round number: what is recorded as the reason is what was applied.
  set(value) {
    if (!this.sorted.length) return;
    const inside = Math.min(this.high, Math.max(this.low, value));
    const digits = Math.max(0, 2 - Math.floor(Math.log10(this.high - this.low)));
    this.threshold = Number(inside.toFixed(Math.min(6, digits)));
    this.changed();
  }

  flip() {
    this.below = !this.below;
    this.changed();
  }

  clear() {
    this.threshold = null;
    this.changed();
  }

  changed() {
    this.beyond = this.findBeyond();
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
      this.moved();
    });
  }

  draw() {
    const { canvas, bins } = this;
    const width = canvas.clientWidth, height = canvas.clientHeight, dense = devicePixelRatio;
    if (!bins || !width) return;
    canvas.width = width * dense;
    canvas.height = height * dense;
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    const tall = height - AXIS_PX, most = Math.sqrt(Math.max(1, ...bins)); // square roots: tails stay visible
    const edge = this.threshold === null ? null : (this.threshold - this.low) / (this.high - this.low) * width;
    bins.forEach((count, bin) => {
      const x = bin / BINS * width, y = count && Math.max(1, Math.sqrt(count) / most * (tall - 2));
      const out = edge !== null && (this.below ? x + width / BINS <= edge + 0.5 : x >= edge - 0.5);
      pen.fillStyle = out ? "#ff6f61" : "#8c8c8c";
      pen.fillRect(x, tall - y, Math.max(1, width / BINS - 1), y);
    });
    pen.fillStyle = "#a8a8a8";
    pen.fillRect(0, tall, width, 1);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "bottom";
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      pen.textAlign = part === 0 ? "left" : part === 1 ? "right" : "center";
      const unit = part === 1 ? ` ${this.score.unit}` : "";
      pen.fillText(shortNumber(this.low + part * (this.high - this.low)) + unit, part * width, height);
    }
    if (edge !== null) {
      pen.fillStyle = "#fff";
      pen.fillRect(Math.min(width - 2, Math.max(0, edge - 1)), 0, 2, tall);
    }
  }

  // How many are beyond the threshold and kept: those a drop would change.
  kept(items) {
    let count = 0;
    for (const item of items) count += this.table.state[item] & KEPT;
    return count;
  }
}
