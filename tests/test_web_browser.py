from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from filter_cases import FITS, PLAIN, REFUSED, case_columns
from playwright.sync_api import Browser, Page, expect, sync_playwright
from review_page import MAX_SHIFT_PX, make_session, served
from test_report_browser import BROWSERS

from litdome.store.decisions import Decision, add_decision, decisions_folder, read_decisions
from litdome.store.pair_columns import pair_columns
from litdome.store.session import Session
from litdome.web.review import DECIDED, KEPT

PAIRS = 3000
SECONDS = 20_000  # a busy machine; ms


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """3,000 pairs of two cameras; in c00 the shift rises from 0 to 12 px."""
    session = make_session(tmp_path_factory.mktemp("review") / "take09.zarr", PAIRS)
    shift = np.stack([np.linspace(0, 12, PAIRS), np.full(PAIRS, 2.5)]).astype(np.float32)
    shift[1, 1] = np.nan
    dims = ("camera", "pair")
    session.write_small("quality/shift_px", shift, dims, unit="px")
    session.write_small("quality/keep", shift <= MAX_SHIFT_PX, dims)
    reason = np.where(np.isnan(shift), 2, shift > MAX_SHIFT_PX).astype(np.uint16)
    session.write_small("quality/reason", reason, dims, attrs={"names": ["shift", "absent"]})
    return session


@pytest.fixture(scope="module")
def server(made: Session) -> Iterator[str]:
    with served(made.url) as (_, address):
        yield address


@pytest.fixture
def page(made: Session, server: str, browser: Browser) -> Iterator[Page]:
    """The page of the take without decisions, opened by the address that was printed."""
    for path in Path(decisions_folder(made.url)).glob("*"):
        path.unlink()
    with opened(browser, server) as page:
        yield page


class opened:
    """A window of its own on the page; what it throws fails the test."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.context.set_default_timeout(SECONDS)
        self.address, self.thrown = address, list[str]()

    def __enter__(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.thrown.append(str(error)))
        page.goto(self.address)
        page.wait_for_selector(".tile img:not([hidden])")
        return page

    def __exit__(self, *error: object) -> None:
        self.context.close()
        assert not self.thrown


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_have_text("all saved", timeout=SECONDS)


def keep(session: Session) -> np.ndarray:
    return pair_columns(session).keep


def here(page: Page) -> str:
    return page.inner_text(".tile.here b")


def choose(page: Page, camera: str, score: str, text: str = "") -> None:
    page.select_option("#camera", camera)
    page.select_option("#score", score)
    page.fill("#filter", text)
    page.press("#filter", "Enter")
    page.focus("#grid")


def counted(page: Page) -> int:
    return int(page.inner_text("#counts").split(" ")[0].replace(",", ""))


def drag_to(page: Page, part: float) -> None:
    box = page.locator("#histogram").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * part, box["y"] + 20, steps=4)
    page.mouse.up()


def test_keys_decide_and_undo_and_a_reload_loses_nothing(page: Page, made: Session) -> None:
    assert "token" not in page.url
    before = keep(made)
    choose(page, "c00", "")
    for key in ("j", "j", "x"):
        page.keyboard.press(key)
    saved(page)
    assert np.argwhere(keep(made) != before).tolist() == [[0, 2]] and here(page) == "c00 · 3"
    page.keyboard.press("k")
    assert page.get_attribute(".tile.here", "data-mark") == "drop"
    page.reload()
    page.wait_for_selector(".tile[data-mark=drop]")
    page.focus("#grid")
    page.keyboard.press("u")
    saved(page)
    assert (keep(made) == before).all()
    assert [decision.reason for decision in read_decisions(made.url)] == ["looked at", "undo: looked at"]
    choose(page, "c00", "", "dropped")
    page.keyboard.press("2")
    page.keyboard.press(" ")
    saved(page)
    kept = read_decisions(made.url)[-1]
    assert (kept.action, kept.reason, kept.author) == ("keep", "mask", "ann")
    assert np.argwhere(keep(made) != before).tolist() == [[0, np.flatnonzero(~before[0])[0]]]


def test_a_threshold_says_what_it_drops_and_drops_that(page: Page, made: Session) -> None:
    before = keep(made)
    choose(page, "c00", "shift_px")
    assert here(page) == f"c00 · {PAIRS - 1}"  # the worst first
    drag_to(page, 0.35)
    said = re.fullmatch(
        r"shift_px > ([\d.]+): ([\d,]+) pairs; drops ([\d,]+) that are kept .*", page.inner_text("#would")
    )
    assert said is not None
    threshold, beyond, dropped = (float(text.replace(",", "")) for text in said.groups())
    shift = made.read("quality/shift_px")[0]
    assert beyond == (shift > threshold).sum() and dropped == (before[0] & (shift > threshold)).sum() > 0
    assert here(page) == f"c00 · {np.flatnonzero(shift > threshold)[0]}"  # nearest to the threshold first
    assert (keep(made) == before).all()
    page.keyboard.press("D")
    saved(page)
    after = keep(made)
    assert (after[0] == (before[0] & (shift <= threshold))).all() and (after[1] == before[1]).all()
    (decision,) = read_decisions(made.url)
    assert decision.reason == f"shift_px > {threshold:g}"
    page.keyboard.press("u")
    saved(page)
    assert (keep(made) == before).all()
    at = here(page)
    page.keyboard.press("Escape")
    assert counted(page) == PAIRS and here(page) == at  # the whole list again, at the same pair


IN_PAGE = """async ({ plain, texts }) => {
  const { parseFilter } = await import("/page/filter.js");
  const nan = values => Float32Array.from(values.flat(), value => value ?? NaN);
  const pairs = plain.hdri.length, cameras = plain.cameras.map(id => ({ id }));
  const table = {
    about: { cameras, pairs, hdris: plain.hdris, regions: plain.regions, reasons: plain.reasons },
    values: Object.fromEntries(Object.entries(plain.scores).map(([name, values]) => [name, nan(values)])),
    hdri: Int32Array.from(plain.hdri), reason: Uint16Array.from(plain.reason.flat()),
    state: Uint8Array.from(plain.state),
  };
  return texts.map(text => {
    let fits;
    try { fits = parseFilter(text, table); } catch (error) { return error.message; }
    const row = camera => Array.from({ length: pairs }, (_, pair) => Number(fits(camera * pairs + pair))).join("");
    return cameras.map((_, camera) => row(camera));
  });
}"""


def test_the_page_understands_filters_as_the_command_line_does(filtered: Page) -> None:
    columns = case_columns()
    state = (KEPT * columns.keep + DECIDED * (columns.deciding >= 0)).ravel().tolist()
    texts = [text for text, *_ in FITS]
    found = filtered.evaluate(IN_PAGE, {"plain": {**PLAIN, "state": state}, "texts": [*texts, *REFUSED]})
    assert dict(zip(texts, found, strict=False)) == {text: [first, second] for text, first, second in FITS}
    refusals = found[len(texts) :]
    assert [text for text, said in zip(REFUSED, refusals, strict=True) if not isinstance(said, str)] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 2 * PAIRS),
        ("shift_px > 6", PAIRS // 2),
        ("not (shift_px > 6)", 2 * PAIRS - PAIRS // 2),
        ('camera == "c01" and pair < 10', 10),
        ("pair >= 10 and pair < 20 or absent", 21),
        ("hdri == park and camera = c00", PAIRS // 2),
        ("kept", 2 * PAIRS - PAIRS // 2 - 1),
        ("decided", 0),
        ("hands_shift_px<=0", 1),
        ("shift_px > 10 and region == hands", PAIRS - 11),  # of c00: the hands' shift of pair p is p px
    ],
)
def test_filters(filtered: Page, text: str, count: int) -> None:
    choose(filtered, "", "", text)
    assert counted(filtered) == count and filtered.locator("#wrong").is_hidden()


@pytest.mark.parametrize("text", ["shift_px >", "nonsense", "shift_px > six", "(kept", "kept kept", "shift > 6", "="])
def test_a_filter_that_is_not_understood_is_said_and_changes_nothing(filtered: Page, text: str) -> None:
    choose(filtered, "", "", "pair < 7")
    choose(filtered, "", "", text)
    assert filtered.locator("#wrong").is_visible() and counted(filtered) == 14


@pytest.fixture(scope="module")
def filtered(made: Session, server: str, browser: Browser) -> Iterator[Page]:
    for path in Path(decisions_folder(made.url)).glob("*"):
        path.unlink()
    with opened(browser, server) as page:
        yield page


def test_only_the_tiles_in_sight_exist_and_each_shows_its_own_pair(page: Page) -> None:
    choose(page, "c00", "")
    page.keyboard.press("End")
    assert here(page) == f"c00 · {PAIRS - 1}"
    page.wait_for_selector(".tile.here img:not([hidden])")
    blue = page.evaluate("""async () => {
      const image = document.querySelector(".tile.here img"), canvas = document.createElement("canvas");
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      return pen.getImageData(10, 10, 1, 1).data[2];
    }""")
    assert abs(blue - (PAIRS - 1) * 200 // PAIRS) < 4  # code: JPEG
    assert page.locator(".tile").count() < 300
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_one_pair_in_every_view(page: Page) -> None:
    choose(page, "c01", "")
    page.keyboard.press("Enter")
    for key, view in (("f", "flat"), ("b", "flat"), ("d", "difference"), ("r", "relit")):
        page.keyboard.press(key)
        page.wait_for_selector(f'#below:not(.none)[src*="/picture/{view}/c01/0?"]')
        assert page.evaluate("document.getElementById('below').naturalWidth") == 48
    expect(page.locator("#facts h2")).to_have_text("c01 · 0")
    page.keyboard.press("j")  # not recorded
    expect(page.locator("#missing")).to_contain_text("did not record")
    expect(page.locator("#facts .verdict")).to_have_text("left out: absent")
    page.keyboard.press("x")
    expect(page.locator("#facts h2")).to_have_text("c01 · 2")
    saved(page)
    page.keyboard.press("g")
    assert here(page) == "c01 · 2"


def test_names_and_words_of_others_are_shown_as_text(tmp_path: Path, browser: Browser) -> None:
    evil = '<img src=x onerror="window.stung=1"><script>window.stung=1;'
    session = make_session(tmp_path / "take.zarr", name=evil, cameras=(evil, "c01"), lights=(evil, "street"))
    add_decision(session.url, Decision("drop", (evil,), ((0, 1),), evil, evil))
    with served(session.url) as (_, address), opened(browser, address) as page:
        choose(page, "", "", f"hdri == '{evil}' and decided")
        assert here(page) == f"{evil} · 0" and page.inner_text("#name") == evil
        page.keyboard.press("Enter")
        facts = page.locator("#facts")
        expect(facts.locator("h2")).to_have_text(f"{evil} · 0")
        expect(facts.locator("li")).to_contain_text(f"drop: {evil}")
        expect(facts.locator("li small")).to_contain_text(evil)
        expect(facts.locator("dd").first).to_have_text(evil)
        page.wait_for_selector("#below:not(.none)")
        page.fill("#filter", f"shift_px > '{evil}'")
        page.press("#filter", "Enter")
        expect(page.locator("#wrong")).to_contain_text("<img")
        page.fill("#reason", evil)
        page.focus("#stage")
        page.keyboard.press("x")
        saved(page)
        page.keyboard.press("k")
        expect(facts.locator("li").first).to_contain_text(f"drop: {evil}")
        assert page.evaluate("window.stung ?? null") is None
        assert page.locator("script").count() == 1 and page.locator("img[onerror]").count() == 0
    assert read_decisions(session.url)[-1].cameras == (evil,)


def test_what_a_killed_server_did_not_confirm_is_said_and_sent_to_the_next(made: Session, browser: Browser) -> None:
    for path in Path(decisions_folder(made.url)).glob("*"):
        path.unlink()
    before = keep(made)
    with served(made.url, "--camera", "c00") as (server, address):
        window = opened(browser, address)
        page = window.__enter__()
        page.focus("#grid")
        page.keyboard.press("x")
        saved(page)
        server.kill()
        server.wait()
    page.keyboard.press("x")
    expect(page.locator("#saved")).to_have_text("1 not saved")
    assert page.locator("#wrong").is_visible() and np.argwhere(keep(made) != before).tolist() == [[0, 0]]
    with served(made.url, "--camera", "c00", "--port", str(urlsplit(address).port)) as (_, again):
        other = window.context.new_page()
        other.goto(again)  # gives this browser the new token
        saved(page)
        saved(other)
        window.__exit__()
    assert np.argwhere(keep(made) != before).tolist() == [[0, 0], [0, 1]]


def test_one_page_neither_sends_nor_erases_what_another_open_page_waits_to_send(page: Page, made: Session) -> None:
    page.route("**/api/decide", lambda route: route.abort())
    before = keep(made)
    page.focus("#grid")
    page.keyboard.press("x")
    expect(page.locator("#saved")).to_have_text("1 not saved")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(".tile img:not([hidden])")
    other.focus("#grid")
    other.keyboard.press("ArrowRight")
    other.keyboard.press("x")
    saved(other)
    assert np.argwhere(keep(made) != before).tolist() == [[0, 1]]
    page.close()
    with other.expect_response("**/api/decide"):
        other.reload()  # takes over what the closed page left
    assert np.argwhere(keep(made) != before).tolist() == [[0, 0], [0, 1]]
