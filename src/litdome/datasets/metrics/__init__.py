"""Measures of relit pictures, each a pure function with its exact definition (docs/metrics.md)."""

from litdome.datasets.metrics.consistency import (
    CrossInference,
    cross_inference,
    excess_warped_error,
    view_consistency,
)
from litdome.datasets.metrics.light import fit_light, lighting_error, lighting_instability
from litdome.datasets.metrics.lpips import Lpips, load_lpips
from litdome.datasets.metrics.physics import (
    Relight,
    gain_error,
    one_light,
    one_light_error_deg,
    shading_direction,
    superposition_error,
    turn_error,
)
from litdome.datasets.metrics.pictures import Measure, by_region, color_bias, detail_ratio, masked_psnr, masked_ssim
from litdome.datasets.metrics.registration import Registered, displacement, register, warp
from litdome.datasets.metrics.seams import (
    SeamScores,
    color_drift,
    error_change,
    gradient_energy,
    induced_shift,
    score_seams,
)
from litdome.datasets.metrics.uncertainty import Interval, Term, Verdict, bootstrap_sum, detectable, verdict

__all__ = [
    "CrossInference",
    "Interval",
    "Lpips",
    "Measure",
    "Registered",
    "Relight",
    "SeamScores",
    "Term",
    "Verdict",
    "bootstrap_sum",
    "by_region",
    "color_bias",
    "color_drift",
    "cross_inference",
    "detail_ratio",
    "detectable",
    "displacement",
    "error_change",
    "excess_warped_error",
    "fit_light",
    "gain_error",
    "gradient_energy",
    "induced_shift",
    "lighting_error",
    "lighting_instability",
    "load_lpips",
    "masked_psnr",
    "masked_ssim",
    "one_light",
    "one_light_error_deg",
    "register",
    "score_seams",
    "shading_direction",
    "superposition_error",
    "turn_error",
    "verdict",
    "view_consistency",
    "warp",
]
