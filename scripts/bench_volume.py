"""A whole volume, one box a slice: encoded, answered, masks on the host.

A row of scripts/bench_speed.py. Weights and voxels are random; reading the file is not counted.
"""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from cobot.intensity import IntensityWindow
from cobot.planes import Slice, plane_across
from cobot.prompts import Prompts
from cobot.sam.build import build, encoder_shape
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True, slots=True)
class VolumeTime:
    """What came of it.

    Attributes:
        seconds: of each round.
        busy: share of the time that the GPU computed; None on a CPU.
    """

    seconds: tuple[float, ...]
    busy: float | None


def volume_time(
    name: str, device: str, batch: int, slices: int = 300, rounds: int = 3
) -> VolumeTime:
    """Segment a volume of 512 x 512 pixels a slice, after a few slices to warm up."""
    loaded = LoadedSam(build(name), encoder_shape(name), "0" * 64)
    precision = "bf16" if device == "cuda" else "auto"
    options = SegmenterOptions(precision=precision, compiled=device == "cuda")
    segmenter = SliceSegmenter(loaded, device, options)
    pixels = np.random.default_rng(0).integers(-1000, 1000, (512, 512)).astype(np.int16)
    box = Prompts(box_xyxy=np.array([100.0, 120.0, 300.0, 330.0]))
    window, plane = IntensityWindow(-160.0, 240.0), plane_across(np.eye(4), 2)
    jobs = [
        SliceJob(Slice(pixels, plane, index, (0.8, 0.8)), window, (box,)) for index in range(slices)
    ]
    # The last batch may be smaller, and is compiled and recorded apart.
    _segment(segmenter, jobs[: 2 * batch + slices % batch], batch)
    seconds = tuple(_segment(segmenter, jobs, batch) for _ in range(rounds))
    if device != "cuda":
        return VolumeTime(seconds, None)
    with profile(activities=[ProfilerActivity.CUDA]) as traced:
        _segment(segmenter, jobs, batch)
    computed_us = sum(event.self_device_time_total for event in traced.key_averages())
    # Against rounds without the profiler, which slows the host down and not the kernels.
    return VolumeTime(seconds, computed_us / 1e6 / statistics.median(seconds))


def _segment(segmenter: SliceSegmenter, jobs: list[SliceJob], batch: int) -> float:
    """Seconds for all masks."""
    started = time.perf_counter()
    for job, embedding in embed_many(segmenter, jobs, BatchPlan(batch)):
        segmenter.decode(embedding, job.prompts)
    if segmenter.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
