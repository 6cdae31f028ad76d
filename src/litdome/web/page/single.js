// One pair, large: pictures, scores, and who decided what about it.
import { ask, cameraOf, markOf, pairOf, reasonsOf, shortNumber } from "./table.js";

const WORDS = { keep: "kept by hand", drop: "dropped by hand", auto: "left out", "": "kept" };

export class Single {
  constructor(table, { root, below, above, missing, facts }) {
    Object.assign(this, { table, root, below, above, missing, facts });
    this.ahead = [];
    for (const image of [below, above]) {
      image.onload = () => { image.classList.remove("none"); };
      image.onerror = () => this.failed(image);
    }
  }

  show(item, next, view, whole) {
    this.item = item;
    this.missing.hidden = item !== null;
    this.facts.hidden = item === null;
    if (item === null) {
      this.missing.textContent = "no pair fits the filter";
      this.set(this.below, null);
      this.set(this.above, null);
      return;
    }
    const [first, second] = view === "blink" ? ["flat", "relit"] : [view, null];
    this.set(this.below, this.address(item, first, whole));
    this.set(this.above, second && this.address(item, second, whole));
    this.ahead = next.flatMap(other => (second ? [first, second] : [first]).map(name => {
      const image = new Image();
      image.src = this.address(other, name, whole);
      return image;
    }));
    this.describe();
  }

  address(item, view, whole) {
    const { id } = cameraOf(this.table, item);
    return `/picture/${view}/${encodeURIComponent(id)}/${pairOf(this.table, item)}?v=${this.table.about.version}${whole ? "&whole=1" : ""}`;
  }

  set(image, address) {
    if (image.getAttribute("src") === address) return;
    image.classList.add("none");
    if (address) image.src = address;
    else image.removeAttribute("src");
  }

  async failed(image) {
    const address = image.getAttribute("src");
    if (!address) return;
    let words = "the picture cannot be shown";
    try { await ask(address); } catch (error) { words = error.message; }
    if (image.getAttribute("src") !== address) return;
    this.missing.textContent = words;
    this.missing.hidden = false;
  }

  describe() {
    const { table, item, facts } = this;
    const mark = markOf(table.state[item]), pair = pairOf(table, item), camera = cameraOf(table, item).id;
    const line = (tag, text, parent, name) => {
      const found = document.createElement(tag);
      found.textContent = text;
      if (name) found.className = name;
      parent.append(found);
      return found;
    };
    facts.replaceChildren();
    line("h2", `${camera} · ${pair}`, facts);
    const why = mark === "auto" ? `: ${reasonsOf(table, item).join(", ")}` : "";
    line("p", WORDS[mark] + why, facts, `verdict ${mark}`);
    const list = line("dl", "", facts);
    line("dt", "light", list);
    line("dd", table.about.hdris[table.hdri[pair]] ?? "–", list);
    for (const { name, unit, description } of table.about.scores) {
      line("dt", name, list).title = `${description} (${unit})`;
      line("dd", shortNumber(table.values[name][item]), list);
    }
    this.tell(line("ol", "", facts), camera, pair, line);
  }

  async tell(list, camera, pair, line) {
    const { decisions } = await ask(`/api/history/${encodeURIComponent(camera)}/${pair}`).then(answer => answer.json());
    for (const { action, reason, author, time } of decisions.reverse()) {
      const entry = line("li", `${action}: ${reason}`, list);
      line("small", `${author}, ${new Date(time).toLocaleString()}`, entry);
    }
  }
}
