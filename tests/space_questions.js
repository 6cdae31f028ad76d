// asked of the cameras in space, in a browser without a screen: what they show is in the title at the end
const timely = f => setTimeout(f, 0);
window.requestAnimationFrame = timely;  // nothing is painted here, so no frame would come
addEventListener("error", event => { document.title = JSON.stringify({ error: event.message }); });
addEventListener("load", async () => {
  const svg = document.getElementById("space"), box = () => svg.getBoundingClientRect();
  const drawn = () => new Promise(done => setTimeout(done, 5));
  const paths = () => [...svg.querySelectorAll("path")].map(path => path.getAttribute("d"));
  const place = id => {
    const text = svg.querySelector(`[data-camera="${id}"] text`);
    return [parseFloat(text.getAttribute("x")) - 8, parseFloat(text.getAttribute("y")) + 8];
  };
  const width = () => place("c01")[0] - place("c03")[0];
  const at = (x, y) => ({ clientX: box().left + x * box().width / 1100, clientY: box().top + y * box().height / 560 });
  const send = (name, x, y, pointerId = 1) =>
    svg.dispatchEvent(new PointerEvent(name, { bubbles: true, pointerId, ...at(x, y) }));
  const wheel = deltaY => svg.dispatchEvent(new WheelEvent("wheel", { deltaY, cancelable: true, ...at(550, 280) }));
  const key = name => svg.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const click = async selector => {
    document.querySelector(selector).click();
    await drawn();
  };
  const chosen = () => {
    const items = [...document.querySelectorAll(".chosen")];
    return [...new Set(items.map(item => `${item.tagName} ${item.dataset.camera}`))];
  };

  const found = { first: paths(), too_wide: document.documentElement.scrollWidth - innerWidth, width: width() };
  found.scrolls = wheel(-300);
  await drawn();
  found.width_then = width();

  send("pointerdown", 300, 20);
  send("pointermove", 400, 20);
  send("pointerup", 400, 20);
  await drawn();
  found.turned = place("c00");

  key("Home");
  await drawn();
  found.home = paths();
  await click('[data-view="whole"]');
  found.whole = paths();
  key("Home");
  await drawn();
  const before = width();
  found.stopped = wheel(-300);
  await drawn();
  found.zoomed = width() / before;

  key("Home");
  await drawn();
  const [x, y] = place("c02");
  send("pointerdown", x, y);
  send("pointerup", x, y);
  await drawn();
  found.clicked = chosen();
  found.says = document.getElementById("space-says").textContent;
  found.seen = svg.querySelector("path.seen").getAttribute("d").split("M").length - 1;
  key("n");
  await drawn();
  found.next = chosen();
  key("Escape");
  await drawn();
  found.none = chosen();
  await click('tr[data-camera="c01"]');
  found.row = chosen();

  await click('[data-view="above"]');
  found.above = { c00: place("c00"), c01: place("c01"), c02: place("c02") };
  const apart = width();
  send("pointerdown", 500, 300, 1);
  send("pointerdown", 600, 300, 2);
  send("pointermove", 400, 300, 1);
  send("pointermove", 700, 300, 2);
  await drawn();
  found.pinched = width() / apart;
  document.title = JSON.stringify(found);
});
