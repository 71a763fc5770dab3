"""The folder of studies beside its server, where images may be links into a download."""

from cobot.server.datastore import KeepingDatastore


def test_removing_a_linked_image_leaves_the_download(tmp_path):
    download, studies = tmp_path / "download", tmp_path / "studies"
    for folder in (download, studies):
        folder.mkdir()
    for name in ("hard", "symbolic"):
        (download / f"{name}.nii.gz").write_bytes(b"voxels")
    (studies / "hard.nii.gz").hardlink_to(download / "hard.nii.gz")
    (studies / "symbolic.nii.gz").symlink_to(download / "symbolic.nii.gz")
    store = KeepingDatastore(str(studies), auto_reload=False)
    for name in ("hard", "symbolic"):
        assert name in store.list_images()
        store.remove_image(name)
        assert name not in store.list_images()
        assert (download / f"{name}.nii.gz").read_bytes() == b"voxels"
    assert list(studies.glob("*.nii.gz")) == []
