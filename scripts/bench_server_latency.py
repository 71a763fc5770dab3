"""Warm clicks through the real server with the real client, on a 512 x 512 x 200 volume.

Rows for scripts/bench_speed.py: what one annotator waits for, from the request to the mask in hand.
"""

import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from bench_server_click import MONAILabelClient, server
from cobot.datasets.phantom import abdomen_phantom
from cobot.sam.build import build
from cobot.sam.weights import default_weights_path
from safetensors.torch import save_file

THICKNESS = 10
"""Distinct slices of the phantom, repeated until there are 200."""

STUDY = "phantom"


def warm_click_seconds(clicks: int) -> list[float]:
    """Seconds of each click on a slice that has been clicked once, by `tiny` on the CPU.

    Without trained weights `tiny` gets random ones, which costs the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder) / "studies"
        studies.mkdir()
        inside = write_study(studies / f"{STUDY}.nii.gz")
        settings = ["--device", "cpu", "--labels", "spleen", *_weights(Path(folder))]
        with server(studies, settings) as address:
            client = MONAILabelClient(address, tmpdir=folder)
            return [_click(client, inside[index % len(inside)]) for index in range(clicks + 1)][1:]


def write_study(file: Path) -> list[list[int]]:
    """Write the volume; voxels of its spleen, all on one slice."""
    phantom = abdomen_phantom(3, (512, 512, THICKNESS), (0.75, 0.75, 8.0))
    voxels = np.tile(phantom.volume.voxels, (1, 1, 200 // THICKNESS))
    nib.save(nib.Nifti1Image(voxels, phantom.volume.affine), file)
    spleen = phantom.truth.mask("spleen")
    k = int(spleen.sum(axis=(0, 1)).argmax())
    found = np.argwhere(spleen[:, :, k])
    chosen = found[np.random.default_rng(0).permutation(len(found))[:50]]
    return [[*place, k] for place in chosen.tolist()]


def _click(client: MONAILabelClient, voxel: list[int]) -> float:
    """One request as 3D Slicer makes it."""
    request = {
        "label": "spleen",
        "foreground": [voxel],
        "background": [],
        "slice": voxel[2],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
    }
    started = time.perf_counter()
    file, _ = client.infer("sam_2d", STUDY, request)
    seconds = time.perf_counter() - started
    Path(file).unlink()
    return seconds


def _weights(folder: Path) -> list[str]:
    if default_weights_path("tiny").is_file():
        return []
    file = folder / "tiny.safetensors"
    state = {name: value.contiguous() for name, value in build("tiny").state_dict().items()}
    save_file(state, file)
    return ["--weights", str(file)]
