// The grid: only the tiles in sight exist, whatever the number of pairs.
import { UNSAVED, cameraOf, markOf, pairOf, reasonsOf, shortNumber, thumbAddress } from "./table.js";

const MARKS = { keep: "✓", drop: "✕", auto: "○", "": "" };
const NARROWEST_PX = 112, LABEL_PX = 20, EDGE_PX = 10, SPARE_ROWS = 2;
const TALLEST_PX = 8e6; // browsers draw no taller element; beyond it a pixel of the scroll bar is several of the grid
const SETTLED_MS = 90, NEAR_MS = 25;

export class Grid {
  constructor(table, { root, height, tiles, opened, moved }) {
    Object.assign(this, { table, root, height, tiles, opened, moved });
    this.items = new Uint32Array(0);
    this.at = 0;
    this.score = null;
    this.pool = [];
    this.width = Math.max(NARROWEST_PX, ...table.about.cameras.map(({ thumb }) => thumb[0])) + EDGE_PX;
    this.tall = Math.max(...table.about.cameras.map(({ thumb }) => thumb[1])) + EDGE_PX + LABEL_PX;
    root.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(root);
    tiles.addEventListener("click", event => this.clicked(event, false));
    tiles.addEventListener("dblclick", event => this.clicked(event, true));
  }

  get item() { return this.items.length ? this.items[this.at] : null; }

  // Shows `items` from the first one, or (`stay`) from the one looked at where it is among them.
  show(items, score, stay) {
    const item = stay ? this.item : null;
    this.items = items;
    this.score = score;
    const again = item === null ? -1 : items.indexOf(item);
    this.at = Math.max(0, again);
    this.lastTop = undefined;
    this.measure();
    this.reveal();
    this.draw();
  }

  move(steps) { this.go(this.at + steps); }

  go(place) {
    this.at = Math.min(Math.max(0, place), Math.max(0, this.items.length - 1));
    this.reveal();
    this.draw();
    this.moved();
  }

  layout() {
    this.measure();
    this.soon();
  }

  measure() {
    this.columns = Math.max(1, Math.floor(this.root.clientWidth / this.width));
    this.rows = Math.ceil(this.items.length / this.columns);
    const whole = this.rows * this.tall, seen = this.root.clientHeight;
    const shown = Math.min(whole, TALLEST_PX);
    this.stretch = shown > seen ? (whole - seen) / (shown - seen) : 1;
    this.height.style.height = `${shown}px`;
  }

  get top() { return this.root.scrollTop * this.stretch; }

  reveal() {
    const top = Math.floor(this.at / this.columns) * this.tall;
    const seen = this.root.clientHeight;
    if (top < this.top) this.root.scrollTop = top / this.stretch;
    else if (top + this.tall > this.top + seen) this.root.scrollTop = (top + this.tall - seen) / this.stretch;
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  draw() {
    if (!this.root.clientHeight) return;
    const top = this.top, shift = this.root.scrollTop - top;
    const first = Math.max(0, Math.floor(top / this.tall) - SPARE_ROWS);
    const last = Math.min(this.rows, Math.ceil((top + this.root.clientHeight) / this.tall) + SPARE_ROWS);
    const wanted = (Math.ceil(this.root.clientHeight / this.tall) + 2 * SPARE_ROWS + 2) * this.columns;
    while (this.pool.length < wanted) this.pool.push(this.makeTile());
    const far = Math.abs(top - (this.lastTop ?? Infinity)) > this.root.clientHeight;
    this.lastTop = top;
    const start = first * this.columns, stop = Math.min(this.items.length, last * this.columns);
    const used = new Set();
    for (let place = start; place < stop; place++) {
      const tile = this.pool[place % this.pool.length];
      used.add(tile);
      this.fill(tile, place, shift, far);
    }
    for (const tile of this.pool) tile.root.hidden = !used.has(tile);
    this.loadSoon(far);
  }

  fill(tile, place, shift, far) {
    const { table } = this;
    const item = this.items[place], row = Math.floor(place / this.columns);
    const x = (place % this.columns) * this.width, y = row * this.tall + shift;
    tile.root.style.transform = `translate(${x}px, ${y}px)`;
    tile.root.classList.toggle("here", place === this.at);
    tile.place = place;
    const state = table.state[item];
    if (tile.item === item && tile.state === state && tile.score === this.score) return;
    if (tile.item !== item) { // never the old picture under the new name
      tile.image.hidden = true;
      tile.image.removeAttribute("src");
      tile.root.classList.remove("broken");
      const [width, height] = cameraOf(table, item).thumb;
      tile.crop.style.width = `${width}px`;
      tile.crop.style.height = `${height}px`;
      tile.root.dataset.item = item;
    }
    Object.assign(tile, { item, state, score: this.score });
    const mark = markOf(state);
    tile.root.dataset.mark = mark;
    tile.name.textContent = `${cameraOf(table, item).id} · ${pairOf(table, item)}`;
    tile.value.textContent = this.score ? shortNumber(table.values[this.score][item]) : "";
    tile.mark.textContent = (state & UNSAVED ? "… " : "") + MARKS[mark];
    tile.why.textContent = mark === "auto" ? reasonsOf(table, item).join(", ") : "";
  }

  // Pictures come while one scrolls, but not of what flies past.
  loadSoon(far) {
    if (far) clearTimeout(this.timer);
    else if (this.timer) return;
    this.timer = setTimeout(() => { this.timer = null; this.load(); }, far ? SETTLED_MS : NEAR_MS);
  }

  load() {
    for (const tile of this.pool) {
      if (!tile.root.hidden && tile.item >= 0 && !tile.image.getAttribute("src")) {
        tile.image.src = thumbAddress(this.table, tile.item);
      }
    }
  }

  makeTile() {
    const make = (tag, name, parent) => {
      const found = document.createElement(tag);
      if (name) found.className = name;
      parent.append(found);
      return found;
    };
    const root = make("div", "tile", this.tiles);
    root.style.width = `${this.width}px`;
    root.style.height = `${this.tall}px`;
    const crop = make("div", "crop", root), image = make("img", "", crop), says = make("div", "says", root);
    const [mark, why] = [make("span", "mark", crop), make("span", "why", crop)];
    const [name, value] = [make("b", "", says), make("span", "", says)];
    const tile = { root, crop, image, name, mark, why, value, item: -1 };
    image.alt = "";
    image.onload = () => { image.hidden = false; };
    image.onerror = () => { if (image.getAttribute("src")) root.classList.add("broken"); };
    return tile;
  }

  clicked(event, open) {
    const root = event.target.closest(".tile");
    const tile = this.pool.find(one => one.root === root);
    if (!tile) return;
    this.go(tile.place);
    if (open) this.opened();
  }
}
