import pytest
from cobot.adapters.config import METHOD_NAMES, AdapterConfig
from cobot.errors import ConfigError


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_name_and_dict_come_back(name: str):
    config = AdapterConfig.named(name)
    assert config.name == name
    assert AdapterConfig.from_dict(config.to_dict()) == config


def test_cobot_turns_every_switch_on_at_the_papers_size():
    config = AdapterConfig.named("adaptformer+cobot")
    assert (config.coefficients, config.relation, config.head) == (True, "learned", "hyper-complex")
    assert (config.width, config.scale, config.dropout, config.init) == (16, 1.0, 0.1, "zero")
    assert AdapterConfig.named("lora+cobot").width == 4


def test_ablation_names_its_switches_and_keeps_its_blocks():
    config = AdapterConfig.named("lora+cobot", relation="fixed", blocks=(1, 3))
    assert config.name == "lora+coefficients=on+relation=fixed+head=hyper-complex"
    assert AdapterConfig.from_dict(config.to_dict()).blocks == (1, 3)


@pytest.mark.parametrize("width", [1, 2, 6, 18])
def test_width_not_divisible_by_four_is_refused_only_with_hyper_complex_head(width: int):
    with pytest.raises(ConfigError, match="quaternion has four parts, so V must be divisible by 4"):
        AdapterConfig.named("lora+cobot", width=width)
    assert AdapterConfig.named("lora+cobot", width=width, head="linear").width == width


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dora", {}, "method 'dora' is unknown: choose one of lora, lora\\+cobot"),
        ("lora", {"relation": "random"}, "relation 'random' is unknown"),
        ("lora", {"head": "quaternion"}, "head 'quaternion' is unknown"),
        ("lora", {"init": "ones"}, "init 'ones' is unknown"),
        ("lora", {"rank": 4}, "unknown \\['rank'\\]"),
        ("lora", {"width": 0}, "width 0 must lie in 1 to 4096"),
        ("lora", {"width": "4"}, "width '4' must be an integer"),
        ("lora", {"width": True}, "width True must be an integer"),
        ("lora", {"scale": "big"}, "scale 'big' must be a number"),
        ("lora", {"coefficients": 1}, "coefficients 1 must be true or false"),
        ("lora", {"blocks": "12"}, "blocks '12' must be a list of integers"),
        ("lora", {"blocks": [0, 1.5]}, "must be a list of integers"),
        ("lora", {"dropout": 0.1}, "dropout 0.1 belongs to AdaptFormer"),
        ("adaptformer", {"dropout": 1.0}, "dropout 1.0 must lie in"),
        ("adaptformer", {"scale": 0.0}, "scale 0.0 must be finite and not 0"),
        ("lora", {"relation": "fixed"}, "without coefficients has nothing to relate"),
        ("lora", {"blocks": (3, 1)}, "must be ascending indices"),
        ("lora", {"blocks": (1, 1)}, "must be ascending indices"),
        ("lora", {"blocks": ()}, "must be ascending indices"),
        ("lora", {"blocks": (-1, 0)}, "must be ascending indices"),
        ("freeze", {"width": 4}, "attaches no adapter"),
        ("lightweight", {"coefficients": True}, "attaches no adapter"),
        ("freeze", {"train_decoder": True}, "train_decoder=False by definition"),
        ("lightweight", {"train_decoder": False}, "train_decoder=True by definition"),
    ],
)
def test_refusals_say_what_and_why(name: str, changes: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        AdapterConfig.named(name, **changes)


def test_missing_field_is_refused():
    with pytest.raises(ConfigError, match="missing \\['width'\\]"):
        AdapterConfig.from_dict({"method": "lora"})
