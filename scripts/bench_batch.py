"""The batch measured: `python3 scripts/bench_batch.py mixed|masks|ray --out DIR`.

mixed  phantom and real volumes among damaged files, in one folder; the run is killed twice.
masks  a folder of image_*/label_* pairs, boxes from the masks: seconds a volume, peak memory, how
       busy the processors are over time, Dice.
ray    throughput of two Ray workers beside one and beside a single process.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cobot.sam.weights import default_weights_path

SEGMENT = [sys.executable, "-m", "cobot.cli.main", "segment"]
SAMPLE_S = 0.5
REAL_OF_EACH = 6
BOX = "organ=10,10,1,30,30,2"
"""Two slices of every image: this part is about files, not about masks."""


def main():
    """Run one part and write its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("mixed", "masks", "ray"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/bench_batch"))
    parser.add_argument("--phantoms", type=int, default=188)
    parser.add_argument("--cases", type=int, default=None, help="of masks and ray")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    # A copy, so that new weights in the package do not change a run half-way.
    weights = options.work / "tiny.safetensors"
    shutil.copy(default_weights_path("tiny"), weights)
    SEGMENT.extend(["--weights", str(weights)])
    {"mixed": mixed, "masks": masks, "ray": ray}[options.part](options)


def mixed(options):
    """Fill a folder, kill the run twice, let the third end, and compare the manifests."""
    folder = options.work / "in"
    folder.mkdir()
    good = make_phantoms(options.phantoms, folder) + link_real(options.data, folder)
    bad = spoil(folder)
    out = options.work / "out"
    command = [*SEGMENT, str(folder), "-o", str(out), "--box", BOX, "--device", "cpu"]
    report = [f"{good} good files, {bad} bad ones"]
    for number, share in enumerate((0.3, 0.7, None), start=1):
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if share is not None:
            while finished(out) < share * good and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        text = process.communicate()[0]
        seconds = time.monotonic() - began
        ended = "killed" if share is not None else f"exit code {process.returncode}"
        report.append(f"\nrun {number}: {ended} after {seconds:.0f} s, {finished(out)} masks")
        (options.out / f"run{number}.txt").write_text(text)
        shutil.copy(out / "manifest.jsonl", options.out / f"manifest_run{number}.jsonl")
        report += manifest_lines(out)
    report += ["", "last lines of run 3:", *text.splitlines()[-30:]]
    hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
    report.append(f"hidden names left in the output folder: {hidden}")
    text = "\n".join(report)
    (options.out / "mixed.txt").write_text(text + "\n")
    print(text)


def manifest_lines(out):
    """How many lines say what, and whether a case is said to be done twice."""
    states, done, torn = Counter(), Counter(), 0
    for line in (out / "manifest.jsonl").read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            torn += 1
            continue
        states[record["status"]] += 1
        done[record["case"]] += record["status"] == "done"
    twice = [case for case, count in done.items() if count > 1]
    return [f"  lines: {dict(states)}, torn: {torn}, done twice: {twice or 'none'}"]


def finished(out):
    """Masks that carry their final names."""
    if not out.exists():
        return 0
    names = [name for name in os.listdir(out) if not name.startswith(".")]
    return sum((out / name / f"{name}.nii.gz").is_file() for name in names)


def make_phantoms(count, folder):
    """Phantoms on small grids, so that the part takes minutes."""
    from cobot.datasets.phantom import abdomen_phantom
    from cobot.io.image_writer import write_volume

    for seed in range(count):
        phantom = abdomen_phantom(seed, shape=(48, 40, 4), spacing_mm=(8.0, 8.0, 40.0))
        write_volume(phantom.volume, folder / f"phantom_{seed:03d}.nii.gz")
    return count


def link_real(data, folder):
    """Real volumes, under names of their own."""
    count = 0
    for source in ("openkbp/validation", "chaos_mr"):
        for image in sorted((data / source).glob("image_*.nii.gz"))[:REAL_OF_EACH]:
            name = f"{source.split('/')[0]}_{image.name[6:]}"
            (folder / name).symlink_to(image.resolve())
            count += 1
    return count


def spoil(folder):
    """Twenty files of ten kinds of damage."""
    import nibabel as nib
    import numpy as np

    def save(array, path):
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 5.0, 1.0])), path)

    whole = (folder / "phantom_000.nii.gz").read_bytes()
    voxels = np.zeros((32, 32, 4), np.float32)
    rgb = np.zeros((8, 8, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for copy in range(2):
        bad = {name: folder / f"bad_{name}_{copy}.nii.gz" for name in BAD_KINDS}
        bad["truncated"].write_bytes(whole[: len(whole) // (2 + copy)])
        bad["empty"].touch()
        bad["text"].write_text("no image at all")
        voxels[copy] = np.nan
        save(voxels, bad["nan"])
        save(np.full((32, 32, 4), np.inf, np.float32), bad["infinite"])
        save(np.zeros((8, 8, 4, 3 + copy), np.int16), bad["frames"])
        save(np.zeros((8, 8), np.int16), bad["flat"])
        save(rgb, bad["colours"])
        bad["link"].symlink_to(folder / "nowhere.nii.gz")
        (folder / f"bad_suffix_{copy}.nrrd").write_bytes(whole)
    return len(list(folder.glob("bad_*")))


BAD_KINDS = ("truncated", "empty", "text", "nan", "infinite", "frames", "flat", "colours", "link")


def masks(options):
    """Boxes from the truth's masks; the processors watched all the while."""
    import psutil

    folder = options.work / "in"
    folder.mkdir()
    images = sorted((options.data / "openkbp/validation").glob("image_*.nii.gz"))[: options.cases]
    for image in images:
        (folder / image.name).symlink_to(image.resolve())
    truth = images[0].resolve().parent
    out = options.work / "out"
    command = [*SEGMENT, str(folder), "-o", str(out), "--prompts-from", str(truth), "--axis", "k"]
    began = time.monotonic()
    process = psutil.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, text=True)
    process.cpu_percent()
    samples = []
    while process.poll() is None:
        time.sleep(SAMPLE_S)
        try:
            row = (process.cpu_percent(), process.memory_info().rss, finished(out))
        except psutil.Error:
            break
        samples.append((time.monotonic() - began, *row))
    seconds = time.monotonic() - began
    print(process.communicate()[0][-2000:])
    write_profile(samples, options.out)
    records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    stages = {
        stage: sum(one["seconds"].get(stage, 0) for one in records)
        for stage in ("read", "segment", "write")
    }
    first = next((t for t, _, _, done in samples if done), seconds)
    busy = [cpu for t, cpu, _, _ in samples if t > first]
    figures = {
        "volumes": len(records),
        "slices": sum(len(max(one["confidence"].values(), key=len)) for one in records),
        "seconds": round(seconds, 1),
        "seconds_a_volume": round(seconds / len(records), 2),
        "seconds_by_stage": {stage: round(value, 1) for stage, value in stages.items()},
        "peak_rss_mb": round(max(row[2] for row in samples) / 2**20),
        "mean_cpu_percent_after_first_mask": round(sum(busy) / max(len(busy), 1)),
        "dice": dice(out, truth, records),
        "cpus": os.cpu_count(),
        "load_at_start": [round(one, 1) for one in os.getloadavg()],
        "provenance": records[0]["provenance"],
        "date": time.strftime("%Y-%m-%d"),
    }
    text = json.dumps(figures, indent=2)
    (options.out / "masks.json").write_text(text + "\n")
    print(text)


def write_profile(samples, out):
    """Processors and memory over time, as a table and a curve."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    lines = ["seconds,cpu_percent,rss_mb,masks"]
    lines += [f"{t:.1f},{cpu:.0f},{rss / 2**20:.0f},{done}" for t, cpu, rss, done in samples]
    (out / "profile.csv").write_text("\n".join(lines) + "\n")
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 5))
    above.plot([row[0] for row in samples], [row[1] for row in samples], linewidth=0.8)
    above.set_ylabel("CPU (%), 100 a core")
    below.plot([row[0] for row in samples], [row[2] / 2**20 for row in samples])
    below.set_ylabel("resident memory (MiB)")
    below.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(out / "profile.png", dpi=100)


def dice(out, truth, records):
    """Mean over cases of each label's 3D Dice, and of the cases' means."""
    import numpy as np
    from cobot.io import read_label_map

    by_label, by_case = {}, []
    for record in records:
        found = read_label_map(out / record["outputs"]["mask"])
        name = Path(record["input"]).name.replace("image_", "label_")
        true = read_label_map(truth / name)
        scores = []
        for value, label in true.labels.items():
            one, other = found.voxels == value, true.voxels == value
            if other.any():
                scores.append(2 * (one & other).sum() / (one.sum() + other.sum()))
                by_label.setdefault(label, []).append(scores[-1])
        by_case.append(np.mean(scores))
    return {
        "mean_over_cases": round(float(np.mean(by_case)), 4),
        "sd_over_cases": round(float(np.std(by_case, ddof=1)), 4),
        "by_label": {name: round(float(np.mean(some)), 4) for name, some in by_label.items()},
    }


def ray(options):
    """The same cases by a single process, one worker, two workers; times without start-up."""
    folder = options.work / "in"
    folder.mkdir()
    images = sorted((options.data / "openkbp/validation").glob("image_*.nii.gz"))
    for image in images[: options.cases or 16]:
        (folder / image.name).symlink_to(image.resolve())
    truth = images[0].resolve().parent
    rows, contents = [], {}
    for name, extra, threads in (
        ("single process, 1 thread", [], "1"),
        ("single process, 2 threads", [], "2"),
        ("1 Ray worker, 1 thread", ["--engine", "ray", "--workers", "1"], "1"),
        ("2 Ray workers, 1 thread each", ["--engine", "ray", "--workers", "2"], "1"),
    ):
        out = options.work / name.replace(" ", "_").replace(",", "")
        command = [*SEGMENT, str(folder), "-o", str(out), "--prompts-from", str(truth), *extra]
        began = time.time()
        subprocess.run(
            [*command, "--device", "cpu"],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": threads},
        )
        seconds = time.time() - began
        made = sorted(out.glob("[!.]*/*.nii.gz"))
        ends = sorted(path.stat().st_mtime for path in made)
        contents[name] = [path.read_bytes() for path in made]
        rows.append(
            {
                "engine": name,
                "volumes": len(made),
                "seconds_with_start": round(seconds, 1),
                "volumes_a_minute_after_the_first": round(
                    60 * (len(ends) - 1) / (ends[-1] - ends[0]), 2
                ),
            }
        )
    same = all(one == contents["single process, 1 thread"] for one in contents.values())
    figures = {"rows": rows, "masks_equal_byte_by_byte": same, "date": time.strftime("%Y-%m-%d")}
    text = json.dumps(figures, indent=2)
    (options.out / "ray.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
