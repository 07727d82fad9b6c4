"""Hardware: the accelerator of a published row by its name in the catalog.

Owns the reading of names as people write them ("A100-SXM4-40GB", "NVIDIA GeForce RTX 3090", "V100-16GB class (...)").
It answers None for silicon that the catalog does not list, and where no device is named.
"""

from __future__ import annotations

import re

from manager.catalog.accelerators import accelerator
from tests.bench.published.rows import COUNT_OF_DEVICES, Row

_NOISE = re.compile(r"\b(nvidia|tesla|geforce|quadro|amd|instinct|intel|google|cloud|accelerator|gpus?|aws|class)\b")
_RULES: tuple[tuple[str, str], ...] = (
    (r"gh200", "GH200"),
    (r"gb300", "GB300"),
    (r"gb200", "GB200"),
    (r"h100.*(96|64) ?gb", "H100 of another memory"),
    (r"h100.*nvl", "H100-NVL"),
    (r"h100.*pcie?", "H100-PCIE"),
    (r"h100", "H100-SXM"),
    (r"h200.*nvl", "H200-NVL"),
    (r"h200", "H200"),
    (r"h20\b", "H20"),
    (r"a100.*80.*pcie?|a100.*pcie?.*80", "A100-80GB"),
    (r"a100.*80", "A100-80GB-SXM"),
    (r"a100", "A100"),
    (r"a800.*80|a800", "A800"),
    (r"v100.*32", "V100-32GB"),
    (r"v100.*pcie?", "V100-PCIE"),
    (r"v100", "V100"),
    (r"rtx ?pro ?6000", "RTXPRO6000"),
    (r"rtx ?6000 ?ada|6000 ada", "RTX6000-Ada"),
    (r"rtx ?4000 ?ada", "RTX4000-Ada"),
    (r"(rtx)? ?a(4000|4500|5000|5500|6000)\b", "RTXA{0}"),
    (r"rtx ?([568]000)\b", "RTX{0}"),
    (r"rtx ?2080 ?ti\b", "RTX2080Ti"),
    (r"(?:rtx ?|^)(\d0[6789]0)\b(?! ?(?:ti|super))", "RTX{0}"),
    (r"titan ?rtx", "Titan RTX"),
    (r"p100.*sxm", "P100-SXM2"),
    (r"mi(\d{3})x?\b", "MI{0}X"),
    (r"gaudi ?-?([123])\b", "Gaudi{0}"),
    (r"gaudi", "Gaudi"),
    (r"tpu.*v5p", "tpu-v5p"),
    (r"tpu.*(v5e|v5 ?lite)", "tpu-v5litepod"),
    (r"tpu.*(v6e|trillium)", "tpu-v6e"),
    (r"tpu.*(v7|ironwood)", "tpu-v7x"),
    (r"tpu.*v([234])\b", "tpu-v{0}"),
    (r"\b(l40s|l40|l4|a10g|a10|a16|a30|a40|t4g|t4|p100|p4|k80|m60|b200|b300)\b", "{0}"),
)


def accelerator_name(row: Row) -> str | None:
    """The catalog's name of the row's device; None where it is not listed or not named."""
    text = COUNT_OF_DEVICES.sub(" ", row.device)
    text = " ".join(_NOISE.sub(" ", text.replace("_", " ")).replace("-", " ").split())
    if not text or text.startswith("("):
        return None
    memory = row.value("gpu_mem_gb", "gpu_memory_gb")
    if memory and re.fullmatch(r"(a100|v100)( sxm\d?)?( \(.*\))?", text):
        text = f"{text} {memory:.0f}gb"
    known = accelerator(text.replace(" ", "-"))
    if known is not None and not re.match(r"a100|h100|v100", text):
        return known.name
    for pattern, name in _RULES:
        match = re.search(pattern, text)
        if match:
            found = accelerator(name.format(*(group.upper() for group in match.groups() if group)))
            return found.name if found is not None else None
    return None
