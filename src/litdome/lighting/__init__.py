"""Light: HDRIs, their conventions, projection into views, tone maps, irradiance, and what was lit when."""

from litdome.lighting.harmonics import irradiance_sh, sh_basis
from litdome.lighting.latlong import (
    HDRI_MAX,
    FloatArray,
    HdriConvention,
    clean_hdri,
    content_groups,
    convert_hdri,
    latlong_directions,
    latlong_solid_angles,
    latlong_uv,
    rotate_hdri,
    sample_latlong,
)
from litdome.lighting.schedule import KIND_CODES, HdriEntry, LightingSchedule
from litdome.lighting.tone_maps import ToneMap, tone_map_ldr, tone_map_log
from litdome.lighting.views import environment_maps, project_hdri, view_directions

__all__ = [
    "HDRI_MAX",
    "KIND_CODES",
    "FloatArray",
    "HdriConvention",
    "HdriEntry",
    "LightingSchedule",
    "ToneMap",
    "clean_hdri",
    "content_groups",
    "convert_hdri",
    "environment_maps",
    "irradiance_sh",
    "latlong_directions",
    "latlong_solid_angles",
    "latlong_uv",
    "project_hdri",
    "rotate_hdri",
    "sample_latlong",
    "sh_basis",
    "tone_map_ldr",
    "tone_map_log",
    "view_directions",
]
