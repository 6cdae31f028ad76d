from __future__ import annotations

import json
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from review_page import CAMERAS, HEIGHT, WIDTH, make_session, served
from starlette.testclient import TestClient

from litdome.cli import cli, run
from litdome.errors import StoreError, UsageError
from litdome.progress import silent
from litdome.store.decisions import Decision, add_decision, decisions_folder, read_decisions
from litdome.store.pair_columns import pair_columns
from litdome.store.session import Session
from litdome.web.app import MAX_BODY_BYTES, review_app
from litdome.web.review import Change, Changes, Review
from litdome.web.thumbnails import Thumbnails

TOKEN = "a-token"
HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return make_session(tmp_path_factory.mktemp("review") / "take09.zarr")


@pytest.fixture
def session(made: Session) -> Iterator[Session]:
    """The take without decisions."""
    yield made
    for path in Path(decisions_folder(made.url)).glob("*"):
        path.unlink()


def page_of(session: Session, **wanted: object) -> TestClient:
    review = Review(session, author="ann", **wanted)  # type: ignore[arg-type]
    thumbnails = Thumbnails(session, review.cameras, review.table.pairs)
    return TestClient(review_app(review, thumbnails, TOKEN), base_url=HERE, raise_server_exceptions=False)


@pytest.fixture
def page(session: Session) -> TestClient:
    """A browser that has opened the page."""
    client = page_of(session)
    assert client.get("/", params={"token": TOKEN}).status_code == 200
    return client


def drop(camera: str = "c00", pairs: tuple[int, int] = (2, 3), action: str = "drop") -> dict[str, object]:
    return {"reason": "mask", "changes": [{"action": action, "camera": camera, "pairs": [list(pairs)]}]}


def post(page: TestClient, body: object, **headers: str) -> int:
    sent = {"Origin": HERE, "Content-Type": "application/json", **headers}
    return page.post("/api/decide", content=json.dumps(body), headers=sent).status_code


# who may talk to it


def test_the_token_opens_the_page_once_and_stays_as_a_cookie(page: TestClient, session: Session) -> None:
    assert page.get("/").status_code == 200 and page.get("/api/session").status_code == 200
    fresh = page_of(session)
    answer = fresh.get("/", params={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/api/session", "/api/table", "/thumb/c00/0", "/page/main.js", "/nothing"])
@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_without_the_token_nothing_is_told(session: Session, path: str, token: str) -> None:
    answer = page_of(session).get(path, params={"token": token} if token else {})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers and "take09" not in answer.text


def test_a_token_in_the_address_is_for_the_page_only(session: Session) -> None:
    assert page_of(session).get("/api/session", params={"token": TOKEN}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.3:8000", ""])
def test_another_host_is_refused(page: TestClient, host: str) -> None:
    assert page.get("/api/session", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:1234", "LOCALHOST", "[::1]:8000"])
def test_any_port_of_this_machine_will_do_as_ssh_lends_others(page: TestClient, host: str) -> None:
    assert page.get("/api/session", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8000", "null"])
def test_a_page_of_another_origin_decides_nothing(page: TestClient, session: Session, origin: str) -> None:
    assert post(page, drop(), Origin=origin) == 403
    assert page.get("/api/session", headers={"Origin": origin}).status_code == 403
    assert read_decisions(session.url) == ()


def test_a_change_without_an_origin_is_refused(page: TestClient, session: Session) -> None:
    assert page.post("/api/decide", json=drop()).status_code == 403
    assert read_decisions(session.url) == ()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_are_not_for_pages_of_other_sites(page: TestClient, site: str) -> None:
    assert page.get("/thumb/c00/0", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert page.get("/thumb/c00/0", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page/%2fetc%2fpasswd",
        "/page//etc/passwd",
        "/thumb/..%2f..%2fc00/0",
        "/thumb/%2e%2e/0",
        "/thumb/c00/-1",
        "/thumb/c00/12",
        "/thumb/c09/0",
        "/picture/relit/..%2f..%2fetc/0",
        "/picture/..%2fzarr.json/c00/0",
        "/api/history/c09/0",
    ],
)
def test_no_path_leads_to_a_file(page: TestClient, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in (400, 404) and "import" not in answer.text and "root:" not in answer.text


# what it shows


def test_the_table_comes_in_one_piece(page: TestClient, session: Session) -> None:
    about = page.get("/api/session").json()
    names = [score["name"] for score in about["scores"]]
    assert names == ["shift_px", "face_shift_px", "hands_shift_px", "reliability", "gap_ms"]
    assert {score["name"] for score in about["scores"] if score["low_is_bad"]} == {"reliability"}
    got, items = page.get("/api/table").content, 2 * about["pairs"]
    values = np.frombuffer(got, "<f4", len(names) * items).reshape(len(names), 2, -1)
    for name in ("shift_px", "reliability"):
        assert np.array_equal(values[names.index(name)], session.read(f"quality/{name}"), equal_nan=True)
    assert np.array_equal(values[names.index("hands_shift_px")], 2 * session.read("quality/shift_px"), equal_nan=True)
    assert (values[names.index("gap_ms")] == 40).all()
    rest = got[values.nbytes + 4 * about["pairs"] :]
    assert np.array_equal(np.frombuffer(rest, "<u2", items).reshape(2, -1), session.read("quality/reason"))
    assert np.array_equal(np.frombuffer(rest, "u1")[2 * items :].reshape(2, -1), session.read("quality/keep"))


def test_one_camera_alone(session: Session) -> None:
    page = page_of(session, cameras=["c01"])
    page.get("/", params={"token": TOKEN})
    assert [camera["id"] for camera in page.get("/api/session").json()["cameras"]] == ["c01"]
    assert page.get("/thumb/c00/0").status_code == 404 and post(page, drop("c00")) == 400
    with pytest.raises(UsageError, match="no camera c07"):
        Review(session, author="ann", cameras=["c07"])


def decoded(content: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_a_thumbnail_is_the_flat_and_the_relit_picture(page: TestClient, session: Session) -> None:
    for _ in range(2):  # made, then kept
        strip = decoded(page.get("/thumb/c00/5").content)
        assert strip.shape == (HEIGHT, 2 * WIDTH, 3)
        wanted = [session.read_rgb("c00", kind, 5)[0, 0] for kind in ("flat", "relit")]
        got = [strip[:, :WIDTH].mean((0, 1)), strip[:, WIDTH:].mean((0, 1))]
        assert np.abs(np.subtract(got, wanted)).max() < 3  # codes: JPEG
    absent = decoded(page.get("/thumb/c01/1").content)
    assert np.abs(absent[:, WIDTH:].astype(int) - 72).max() < 3
    kept = Path(session.url.removesuffix(".zarr") + ".review")
    assert [path.name for path in kept.rglob("00000[15].jpg")] and not list(kept.rglob(".*.jpg.*"))


def test_a_thumbnail_cut_short_by_a_power_cut_is_made_again(page: TestClient, session: Session) -> None:
    whole = page.get("/thumb/c00/7").content
    (path,) = Path(session.url.removesuffix(".zarr") + ".review").rglob("c00/000/000007.jpg")
    path.write_bytes(whole[:100])
    assert page.get("/thumb/c00/7").content == whole and path.read_bytes() == whole


def test_thumbnails_are_made_ahead(session: Session) -> None:
    thumbnails = Thumbnails(session, CAMERAS, len(session.pairs))
    thumbnails.start()
    thumbnails._thread.join(20)
    assert thumbnails.done == thumbnails.total == 24 and not thumbnails.trouble
    assert len(list(thumbnails.folder.rglob("*.jpg"))) == 24
    thumbnails.stop()


def test_thumbnails_are_prepared_before_anyone_comes_and_go_on_where_they_stopped(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Path(session.url.removesuffix(".zarr") + ".review")
    shutil.rmtree(home, ignore_errors=True)
    thumbnails = Thumbnails(session, CAMERAS, len(session.pairs))
    thumbnails.prepare(silent, lambda: True)
    assert len(list(home.rglob("*.jpg"))) >= 1  # those begun are finished
    assert run(["-q", "review", session.url, "--prepare"]) == 0
    assert capsys.readouterr().out.strip() == str(thumbnails.folder)
    assert len(list(thumbnails.folder.rglob("*.jpg"))) == 24 and not list(home.rglob(".*.jpg.*"))


def test_thumbnails_that_cannot_be_kept_are_an_error_when_only_they_were_asked_for(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Path(session.url.removesuffix(".zarr") + ".review")
    shutil.rmtree(home, ignore_errors=True)
    home.write_text("in the way")
    assert run(["-q", "review", session.url, "--prepare"]) == 5
    assert "thumbnails cannot be kept" in capsys.readouterr().err
    home.unlink()


def test_views_are_made_or_refused_in_words(page: TestClient, session: Session) -> None:
    assert decoded(page.get("/picture/relit/c00/3").content).shape == (HEIGHT, WIDTH, 3)
    assert decoded(page.get("/picture/difference/c00/3").content).std() < 3  # even pictures: grey
    assert "did not record" in page.get("/picture/relit/c01/1").json()["error"]["message"]
    answer = page.get("/picture/mask/c00/3").json()["error"]
    assert "no mask" in answer["message"] and answer["hint"].startswith("litdome segment")
    assert page.get("/api/session").json()["views"] == ["flat", "relit", "next_flat", "difference"]


# what it records


def test_a_decision_is_a_file_that_every_reader_heeds(page: TestClient, session: Session) -> None:
    before = pair_columns(session).keep
    assert post(page, drop()) == 200
    (found,) = read_decisions(session.url)
    assert (found.action, found.cameras, found.pairs) == ("drop", ("c00",), ((2, 3),))
    assert (found.author, found.reason) == ("ann", "mask") and re.match(r"20\d\d-.*\.\d{6}\+00:00", found.time)
    changed = pair_columns(session).keep != before
    assert np.argwhere(changed).tolist() == [[0, 2]]
    state = np.frombuffer(page.get("/api/state").content, np.uint8).reshape(2, -1)
    assert state[0, 2] == 2 and state[0, 3] == 1
    (told,) = page.get("/api/history/c00/2").json()["decisions"]
    assert told["reason"] == "mask" and page.get("/api/history/c00/3").json() == {"decisions": []}


def test_whoever_thinks_twice_within_a_second_means_the_second(page: TestClient, session: Session) -> None:
    for n in range(20):
        assert post(page, drop(action="keep" if n % 2 else "drop")) == 200
        assert pair_columns(session).keep[0, 2] == bool(n % 2)
    times = [decision.time for decision in read_decisions(session.url)]
    assert len(set(times)) == 20 and times == sorted(times)


def test_a_decision_counts_even_after_one_of_a_clock_that_is_ahead(session: Session) -> None:
    ahead = Decision("drop", None, ((0, 12),), "test", "bob", "2099-01-01T00:00:00+00:00")
    add_decision(session.url, ahead)
    review = Review(session, author="ann")
    review.decide(Changes(reason="fine", changes=[Change(action="keep", camera="c00", pairs=[[2, 3]])]))
    assert pair_columns(session).keep[0].tolist() == [pair == 2 for pair in range(12)]


def test_decisions_made_elsewhere_are_seen(page: TestClient, session: Session) -> None:
    assert (
        CliRunner()
        .invoke(cli, ["decide", session.url, "drop", "--pairs", "4:6", "--reason", "hand"], obj={"typed": ""})
        .exit_code
        == 0
    )
    state = np.frombuffer(page.get("/api/state").content, np.uint8).reshape(2, -1)
    assert (state == 2).sum() == 4 and (state[:, 4:6] == 2).all()


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"reason": "", "changes": drop()["changes"]},
        {"reason": "x" * 301, "changes": drop()["changes"]},
        {"reason": "x", "changes": []},
        {**drop(), "author": "eve"},
        drop(action="delete"),
        drop("c09"),
        drop(pairs=(3, 3)),
        drop(pairs=(-1, 3)),
        drop(pairs=(0, 13)),
        {"reason": "x", "changes": [{"action": "drop", "camera": "c00", "pairs": [[1, 2, 3]]}]},
        {"reason": "x", "changes": [{"action": "drop", "camera": "c00", "pairs": [["1", "2"]]}]},
        {"reason": "x", "changes": [drop()["changes"][0], {"action": "drop", "camera": "c09", "pairs": [[0, 1]]}]},  # type: ignore[index]
    ],
)
def test_what_is_no_decision_is_refused_whole(page: TestClient, session: Session, body: object) -> None:
    assert post(page, body) == 400
    assert read_decisions(session.url) == ()


def test_a_body_of_another_type_or_without_end_is_refused(page: TestClient, session: Session) -> None:
    assert post(page, drop(), **{"Content-Type": "text/plain"}) == 400
    assert (
        page.post(
            "/api/decide",
            content=b" " * (MAX_BODY_BYTES + 1),
            headers={"Origin": HERE, "Content-Type": "application/json"},
        ).status_code
        == 400
    )
    assert read_decisions(session.url) == ()


def test_a_disk_that_refuses_is_told_and_not_taken_for_saved(session: Session, page: TestClient) -> None:
    folder = Path(decisions_folder(session.url))
    for path in folder.glob("*"):
        path.unlink()
    if folder.exists():
        folder.rmdir()
    folder.write_text("a file in the way")
    try:
        answer = page.post("/api/decide", json=drop(), headers={"Origin": HERE})
        assert answer.status_code == 500 and "take09.decisions" in answer.json()["error"]["message"]
    finally:
        folder.unlink()
    assert pair_columns(session).keep[0, 2]


def test_a_damaged_decision_is_named(session: Session, page: TestClient) -> None:
    folder = Path(decisions_folder(session.url))
    folder.mkdir(exist_ok=True)
    (folder / "2026-01-01-x.json").write_text("{")
    assert "not a decision" in page.get("/api/state").json()["error"]["message"]
    with pytest.raises(StoreError, match="not a decision"):
        Review(session, author="ann")


# the process


def send(address: str, body: object) -> None:
    """One decision as the page sends it: the page first, for its cookie."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(address, timeout=20).read()
    origin = address.partition("/?")[0]
    headers = {"Origin": origin, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{origin}/api/decide", json.dumps(body).encode(), headers)
    assert json.loads(opener.open(request, timeout=20).read()) == {"recorded": 1}


def test_a_confirmed_decision_outlives_the_killed_server_and_ctrl_c_ends_it_cleanly(session: Session) -> None:
    with served(session.url) as (server, address):
        send(address, drop())
        server.kill()
        server.wait()
    assert [decision.pairs for decision in read_decisions(session.url)] == [((2, 3),)]
    with served(session.url, "--camera", "c00") as (server, address):
        send(address, drop(action="keep"))
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert server.stderr is not None and "the review has ended" in server.stderr.read()
    assert [decision.action for decision in read_decisions(session.url)] == ["drop", "keep"]


def test_a_session_without_pairs_and_a_port_in_use_are_said(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["-q", "review", session.url, "--no-browser", "--port", str(port)]) == 2
    assert f"--port {port}" in capsys.readouterr().err
    empty = Session.new(str(tmp_path / "rig.zarr"), {"name": "rig", "holds": "rig"})
    assert run(["-q", "review", empty.url, "--no-browser"]) == 2
    assert "no pairs to review" in capsys.readouterr().err
