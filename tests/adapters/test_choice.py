import pytest
from cobot.adapters.checkpoint import collect_adapter, write_adapter
from cobot.adapters.choice import open_adapter
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError


@pytest.fixture
def file(encoder, attach, card):
    handle = attach(encoder, "lora", train_decoder=False)
    return collect_adapter(handle, card)


def test_a_folder_a_version_and_the_active_version(tmp_path, file):
    write_adapter(tmp_path / "mine", file)
    assert open_adapter(tmp_path / "mine").config == file.config
    store = AdapterStore(tmp_path / "store")
    store.publish(file)
    with pytest.raises(AdapterError, match=r"No adapter version is active.*v0001: activate one"):
        open_adapter(tmp_path / "store")
    assert open_adapter(tmp_path / "store", "v0001").card == file.card
    store.activate("v0001")
    assert open_adapter(tmp_path / "store").tensors.keys() == file.tensors.keys()
    with pytest.raises(AdapterError, match="'v0009' is not in"):
        open_adapter(tmp_path / "store", "v0009")


def test_no_folder_is_refused_with_what_is_needed(tmp_path):
    with pytest.raises(AdapterError, match=r"no adapter at .*nowhere: give a folder that holds"):
        open_adapter(tmp_path / "nowhere")
    with pytest.raises(AdapterError, match="which holds none"):
        open_adapter(tmp_path)
