"""HDRI files as the rest may trust them: lat-long, finite, not negative, with the range of real light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from litdome.color import srgb_from_linear
from litdome.errors import InputError
from litdome.lighting import HDRI_MAX, HdriConvention
from litdome.media.hdr import HDR_SUFFIXES, Float32Array, read_exr_envmap, read_hdr

SMALLEST_WIDTH = 64  # texels of 5.6 degrees; a coarser map has no shadows to learn from
MOST_BROKEN = 0.01  # share of texels, and of the light, that may be mended
FEWEST_LEVELS, STEP_TOLERANCE = 16, 0.1  # of a code: half floats of 8-bit codes are off by 0.06 at most
LOOKED_AT = 1_000_000  # values that tell the steps
CLIPPED = 0.001  # share of texels at one brightest value


def read_latlong(path: Path, convention: HdriConvention = "physical") -> tuple[Float32Array, tuple[str, ...]]:
    """An HDRI file, mended where little is wrong with it.

    Args:
        path: An .hdr or .exr file.
        convention: What it is taken for; a header that says otherwise is told of, not followed.

    Returns:
        Radiance, shape (v, u, 3), float32, finite, 0 or more; and what was mended or is doubtful, one sentence each.

    Raises:
        InputError: Missing, unreadable, a cube map, or refused by `mend_latlong`.
    """
    if path.suffix.lower() not in HDR_SUFFIXES:
        raise InputError(f"{path}: a picture holds no radiance, an HDRI is .hdr or .exr", hint="export it again")
    marked = read_exr_envmap(path) if path.suffix.lower() == ".exr" else None
    if marked == "cube":
        raise InputError(f"{path}: a cube map, a lat-long map is needed", hint="convert it, for example with exrenvmap")
    hdr, said = mend_latlong(read_hdr(path), str(path))
    if marked == "latlong" and convention != "openexr":
        header = f'{path}: its header marks OpenEXR\'s convention, it is read as {convention}; else set "openexr"'
        return hdr, (header, *said)
    return hdr, said


def mend_latlong(hdr: Float32Array, name: str) -> tuple[Float32Array, tuple[str, ...]]:
    """A map without the values that no light has.

    NaN and negative values become 0; infinite ones, most often a sun beyond half floats, the largest half float or the
    map's own largest value, whichever is more.

    Args:
        hdr: Scene-linear radiance, shape (v, u, 3).
        name: What messages call it.

    Returns:
        The map, and what was mended or is doubtful.

    Raises:
        InputError: Not twice as wide as high, under 64 wide, all black, 8-bit steps up to 1, or more than 1 % of its
            texels NaN or infinite, or of its light negative.
    """
    height, width = hdr.shape[:2]
    if width != 2 * height:
        hint = "crop or pad it to the whole sphere; of a mirror ball: litdome lights ball"
        raise InputError(f"{name}: {width}x{height}, but a lat-long map is twice as wide as high", hint=hint)
    if width < SMALLEST_WIDTH:
        hint = "give the original, not a thumbnail"
        raise InputError(
            f"{name}: {width}x{height}, at least {SMALLEST_WIDTH}x{SMALLEST_WIDTH // 2} is needed", hint=hint
        )
    mended, said = _without_broken(hdr, name)
    if not mended.any():
        raise InputError(f"{name}: all black", hint="is this the right file?")
    if has_eight_bit_steps(mended):
        hint = "export it scene-linear from the original, before it becomes a picture"
        raise InputError(f"{name}: 8-bit steps up to 1, so its lights are cut off: a picture, not radiance", hint=hint)
    brightest = float((mended.min(axis=2) >= mended.max()).mean())
    if mended.max() <= 1 and brightest > CLIPPED and len(np.unique(_some(mended))) >= FEWEST_LEVELS:
        said += (f"{name}: {100 * brightest:.1f} % of it is at its brightest value, {mended.max():g}: was it clipped?",)
    return mended, said


def has_eight_bit_steps(hdr: Float32Array) -> bool:
    """Whether all values are 8-bit codes of a picture, linear or sRGB, as a program writes one to .hdr or .exr."""
    if hdr.max() > 1:
        return False
    levels = np.unique(_some(hdr)).astype(np.float64)
    as_codes = (levels * 255, levels * 256, srgb_from_linear(levels) * 255)  # 256: what Radiance makes of k / 255
    return any(_are_whole(codes) for codes in as_codes)


def _are_whole(codes: npt.NDArray[np.floating]) -> bool:
    whole = np.round(codes)
    return len(np.unique(whole)) >= FEWEST_LEVELS and bool(np.abs(codes - whole).max() < STEP_TOLERANCE)


def _some(hdr: Float32Array) -> npt.NDArray[np.float32]:
    return hdr.reshape(-1)[:: hdr.size // LOOKED_AT + 1]


def _without_broken(hdr: Float32Array, name: str) -> tuple[Float32Array, tuple[str, ...]]:
    unknown, infinite, negative = np.isnan(hdr) | np.isneginf(hdr), np.isposinf(hdr), hdr < 0
    if not (unknown.any() or infinite.any() or negative.any()):
        return hdr, ()
    sound = np.where(unknown | infinite | negative, 0, hdr)
    light, dark = (float(part.sum(dtype=np.float64)) for part in (sound, np.where(negative & ~unknown, -hdr, 0)))
    shares = {
        "of its texels are NaN or infinite": float((unknown | infinite).any(axis=2).mean()),
        "of its light is negative": dark / (light + dark) if dark else 0.0,
    }
    for what, share in shares.items():
        if share > MOST_BROKEN:
            few = f"{name}: {100 * share:.1f} % {what}, at most {100 * MOST_BROKEN:g} % is mended"
            raise InputError(few, hint="export it again")
    brightest = np.float32(max(HDRI_MAX, sound.max()))
    found = ((unknown, "NaN", 0.0), (infinite, "infinite", brightest), (negative & ~unknown, "negative", 0.0))
    counts = ((int(mask.any(axis=2).sum()), word, value) for mask, word, value in found)
    said = tuple(f"{name}: {count} {word} texels set to {value:g}" for count, word, value in counts if count)
    return np.where(infinite, brightest, sound), said
