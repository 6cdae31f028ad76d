"""Thumbnails: made once, ahead of who looks, and kept beside the session."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from litdome.errors import LitdomeError, UsageError
from litdome.progress import Progress
from litdome.store.files import is_local, open_files
from litdome.store.provenance import digest
from litdome.store.session import Session
from litdome.web.pictures import THUMB_BOX_PX, thumbnail

JPEG_END = b"\xff\xd9"
PAIRS_IN_FOLDER = 1000


class Thumbnails:
    """Thumbnails of the pairs of some cameras; a thread makes them all while the page is looked at.

    They lie in ``<session>.review`` beside a session on this machine, else in a temporary folder. A cache: losing it
    costs nothing but time, and a disk that refuses it is said in `trouble`, not an error.
    """

    def __init__(self, session: Session, cameras: Sequence[str], pairs: int) -> None:
        self.session, self.cameras, self.pairs = session, tuple(cameras), pairs
        self.done, self.trouble = 0, ""
        record = session.record("ingest")
        self.version = digest(["1", THUMB_BOX_PX, session.url, record.fingerprint if record else ""])[:12]
        files, path = open_files(session.url)
        self._temporary = None if is_local(files) else tempfile.mkdtemp(prefix="litdome-review-")
        home = Path(self._temporary or f"{path.removesuffix('.zarr')}.review")
        self.folder = home / f"thumbnails-{self.version}"
        _forget_old(home, self.folder)
        self._stop, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self._asked = 0
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
        self._thread = threading.Thread(target=self._make_all, name="thumbnails", daemon=True)

    @property
    def total(self) -> int:
        """How many there are to be."""
        return len(self.cameras) * self.pairs

    def get(self, camera: str, pair: int) -> bytes:
        """The thumbnail of a pair as JPEG, made now where it is not there; the thread steps aside meanwhile.

        Raises:
            StoreError: Its pictures are damaged.
        """
        with self._lock:
            self._asked += 1
            self._idle.clear()
        try:
            with self._slots:
                return self._have(camera, pair)
        finally:
            with self._lock:
                self._asked -= 1
                if not self._asked:
                    self._idle.set()

    def prepare(self, progress: Progress, should_stop: Callable[[], bool]) -> None:
        """Make all of them now, on every core; those that are kept already cost only a look.

        Raises:
            UsageError: The session lies elsewhere than on this machine, where none are kept.
        """
        if self._temporary is not None:
            self.stop()
            raise UsageError(f"{self.session.url}: thumbnails are kept beside a session on this machine only")
        places = [(camera, pair) for camera in self.cameras for pair in range(self.pairs)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(self._make, *zip(*places, strict=True)):
                progress("thumbnails", self.done, self.total)
                if should_stop():
                    pool.shutdown(cancel_futures=True)
                    return

    def start(self) -> None:
        """Begin to make all of them."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the thumbnail at hand; what lies in a temporary folder goes."""
        self._stop.set()
        self._idle.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _make_all(self) -> None:
        for camera in self.cameras:
            for pair in range(self.pairs):
                self._idle.wait()
                if self._stop.is_set():
                    return
                self._make(camera, pair)

    def _make(self, camera: str, pair: int) -> None:
        try:
            self._have(camera, pair)
        except LitdomeError as error:  # the page shows the same at this very pair
            self.trouble = error.message
        with self._lock:
            self.done += 1

    def _have(self, camera: str, pair: int) -> bytes:
        path = self.folder / camera / f"{pair // PAIRS_IN_FOLDER:03d}" / f"{pair:06d}.jpg"
        with contextlib.suppress(OSError):
            kept = path.read_bytes()
            if kept.endswith(JPEG_END):  # a power cut may leave less
                return kept
        made = thumbnail(self.session, camera, pair)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            written.write_bytes(made)
            written.replace(path)
        except OSError as error:
            self.trouble = f"thumbnails cannot be kept: {path.parent}: {error.strerror}"
        return made


def _forget_old(home: Path, current: Path) -> None:
    """Remove what was made of an earlier ingest."""
    for folder in home.glob("thumbnails-*"):
        if folder != current:
            shutil.rmtree(folder, ignore_errors=True)
