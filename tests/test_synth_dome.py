"""The dome behind the subject: LEDs at their places, clipped when lit, glowing, dark when off."""

from __future__ import annotations

import numpy as np
import pytest

from litdome.errors import UsageError
from litdome.geometry import Rig
from litdome.synth.dome import need_cameras_inside, wall_picture
from litdome.synth.led_dome import Dome, far_dome, make_dome
from litdome.synth.rig import make_rig

CAMERA = make_rig(1, width=180, height=320, lens=0.0).cameras[0]


def led_pixels(dome: Dome) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and pixels of the LEDs well inside the picture."""
    pose, positions = CAMERA.camera_from_world, dome.leds.positions_m
    ahead = positions @ pose[2, :3] + pose[2, 3] > 0
    at = CAMERA.project(positions)
    inside = np.flatnonzero(ahead & ((at > 6) & (at < [173, 313])).all(axis=1))
    return inside, np.round(at[inside]).astype(int)


def test_lit_leds_clip_at_their_places_and_dark_ones_are_darker_than_the_panels() -> None:
    dome = make_dome(331)
    seen, at = led_pixels(dome)
    assert len(seen) > 10
    drive = dome.flat_drive()
    drive[seen[::2]] = 0
    picture = wall_picture(CAMERA, dome.lights(drive))
    faces = picture[at[:, 1], at[:, 0]]
    panels = np.median(picture)
    assert faces[1::2].min() > 5 and faces[::2].max() < 0.05 * panels  # a little of their neighbours' glow
    clipped = (picture.min(axis=-1) > 1).mean()
    assert 0.001 < clipped < 0.05
    assert 0.005 < panels < 0.1


def test_lit_leds_glow_around_their_faces() -> None:
    dome = make_dome(331)
    _, at = led_pixels(dome)
    picture = wall_picture(CAMERA, dome.lights(dome.flat_drive()))[..., 0]
    x, y = at[len(at) // 2]
    profile = picture[y, x : x + 12]
    assert profile[0] > 5 and (np.diff(profile[:10]) <= 1e-4).all()
    outside = profile[profile < 1]
    assert outside.max() > 3 * np.median(picture)


def test_the_glow_of_one_bright_led_ends_nowhere_at_once() -> None:
    dome = make_dome(331)
    seen, at = led_pixels(dome)
    middle = len(seen) // 2
    picture = wall_picture(CAMERA, dome.lights(dome.one_led_drive(int(seen[middle]))))[..., 0]
    x, y = at[middle]
    profile = np.log(np.maximum(picture[y, x : x + 60], 1e-3))
    assert profile[0] > 5 and profile[-1] < -3
    # from pixel to pixel; the rim of the face is a step of 1 / GLOW
    assert np.sort(-np.diff(profile))[-4] < 1.0


@pytest.mark.parametrize("far", [True, False])
def test_the_wall_shows_the_light(far: bool) -> None:
    dome = far_dome(128) if far else make_dome(128)
    red = np.zeros((32, 64, 3))
    red[:, :, 0] = 1
    picture = wall_picture(CAMERA, dome.lights(dome.drive_hdri(red)))
    assert picture[..., 0].min() > 0 and not picture[..., 1:].any()


def test_a_camera_outside_the_dome_is_refused() -> None:
    lights = make_dome(24).lights(np.ones((24, 3)))
    need_cameras_inside(Rig((CAMERA,)), lights)
    with pytest.raises(UsageError, match=r"camera c00 .* LEDs are 3\.60 m away"):
        need_cameras_inside(make_rig(1, radius_m=4.0), lights)
