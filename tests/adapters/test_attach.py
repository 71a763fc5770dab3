import copy

import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.config import AdapterConfig
from cobot.adapters.protocol import AdapterModule
from cobot.errors import AdapterError

VARIANTS = [
    ("lora", {}),
    ("lora+cobot", {}),
    ("lora+cobot", {"relation": "fixed", "head": "linear", "width": 3}),
    ("lora", {"coefficients": True}),
    ("adaptformer", {"dropout": 0.0}),
    ("adaptformer+cobot", {"dropout": 0.0}),
    ("adaptformer+cobot", {"dropout": 0.0, "relation": "none", "head": "none"}),
    ("adaptformer", {"dropout": 0.0, "head": "hyper-complex"}),
]
each_variant = pytest.mark.parametrize(("name", "changes"), VARIANTS)


@each_variant
@pytest.mark.parametrize("training", [False, True])
def test_just_attached_changes_nothing_bit_for_bit(name, changes, training, encoder, image, attach):
    encoder.train(training)
    before = encoder(image)
    attach(encoder, name, fresh=True, **changes)
    assert torch.equal(encoder(image), before)


def test_published_start_is_not_the_identity(encoder, image, attach):
    before = encoder(image)
    attach(encoder, "lora+cobot", fresh=True, init="paper")
    assert not torch.allclose(encoder(image), before)


@each_variant
def test_learned_adapter_changes_the_output_and_detach_gives_the_very_base_back(
    name, changes, encoder, image, attach
):
    before, modules = encoder(image), dict(encoder.named_modules())
    trainable = [parameter.requires_grad for parameter in encoder.parameters()]
    handle = attach(encoder, name, **changes)
    assert not torch.allclose(encoder(image), before)
    handle.detach()
    after = dict(encoder.named_modules())
    assert after.keys() == modules.keys()
    assert all(after[path] is module for path, module in modules.items())
    assert [parameter.requires_grad for parameter in encoder.parameters()] == trainable
    assert torch.equal(encoder(image), before)


@each_variant
def test_disabled_is_the_base_exactly_and_ends_even_after_an_error(
    name, changes, encoder, image, attach
):
    before = encoder(image)
    handle = attach(encoder, name, **changes)
    adapted, names = encoder(image), list(encoder.state_dict())
    with handle.disabled():
        assert torch.equal(encoder(image), before)
    with pytest.raises(KeyError), handle.disabled():
        raise KeyError
    assert torch.equal(encoder(image), adapted)
    assert sorted(encoder.state_dict()) == sorted(names)


@each_variant
def test_folded_is_unfolded_to_1e_5_and_back_exactly(name, changes, encoder, image, attach):
    handle = attach(encoder, name, **changes)
    adapted = encoder(image)
    handle.fold()
    torch.testing.assert_close(encoder(image), adapted, atol=1e-5, rtol=1e-5)
    assert not [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert "cobot_relation" not in dict(encoder.named_children())
    with handle.disabled():
        assert not torch.allclose(encoder(image), adapted)
    torch.testing.assert_close(encoder(image), adapted, atol=1e-5, rtol=1e-5)
    handle.unfold()
    assert torch.equal(encoder(image), adapted)


def test_folded_lora_has_the_base_encoders_keys(encoder, attach):
    names = list(encoder.state_dict())
    attach(encoder, "lora+cobot").fold()
    assert list(encoder.state_dict()) == names


@each_variant
def test_gradients_reach_exactly_the_declared_parameters(name, changes, encoder, image, attach):
    handle = attach(encoder, name, **changes)
    encoder(image).square().sum().backward()
    with_gradient = {id(p) for p in encoder.parameters() if p.grad is not None}
    declared = {id(parameter) for parameter in handle.parameters().values()}
    assert with_gradient == declared
    for path, parameter in handle.parameters().items():
        assert parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize("name", ["lora", "adaptformer"])
def test_cobot_with_identities_reduces_to_the_plain_method(name, encoder, image, attach):
    """S = I, W = I and c = Λ: the plain method whose A (or down) has its rows times Λ."""
    changes = {"width": 4, **({"dropout": 0.0} if name == "adaptformer" else {})}
    other = copy.deepcopy(encoder)
    cobot = attach(encoder, f"{name}+cobot", **changes)
    plain = attach(other, name, **changes)
    row = {"lora": "lora_a", "adaptformer": "down"}[name]
    with torch.no_grad():
        cobot.relation.matrix.copy_(torch.eye(len(cobot.relation.matrix)))
        for path, parameter in cobot.parameters().items():
            if path.endswith("components"):
                parameter.copy_(torch.tensor([1.0, 0, 0, 0])[:, None, None])
        values = cobot.parameters()
        slots = {
            path.removesuffix(".own"): values[path].clone()
            for path in values
            if path.endswith(".own")
        }
        for index, slot in enumerate(slots):
            slots[slot] += cobot.relation.linked[:, index]
        for path, parameter in plain.parameters().items():
            value = values[path]
            if f".{row}" in path:
                place = path.split(f".{row}")[0]
                factor = slots[f"{place}.projection"]
                value = (factor[:, None] if value.ndim == 2 else factor) * value
            parameter.copy_(value)
    torch.testing.assert_close(encoder(image), other(image), atol=1e-5, rtol=1e-5)


@each_variant
def test_widths_may_differ_from_block_to_block(name, changes, uneven_encoder, attach):
    handle = attach(uneven_encoder, name, **changes)
    for index, width in enumerate((8, 12)):
        block, tokens = uneven_encoder.blocks[index], torch.randn(2, 3, width)
        assert block.attn.qkv(tokens).shape == (2, 3, 3 * width)
        assert block.mlp(tokens).shape == (2, 3, width)
    if handle.relation is not None:
        assert handle.relation.linked.shape == (
            handle.config.width,
            2 * handle.config.slots_per_block,
        )


def test_shared_tensors_are_registered_once(encoder, attach):
    handle = attach(encoder, "lora+cobot")
    names = [name for name in encoder.state_dict() if "linked" in name or "matrix" in name]
    assert names == ["cobot_relation.linked", "cobot_relation.matrix"]
    parameters = list(encoder.parameters())
    assert sum(p is handle.relation.linked for p in parameters) == 1
    assert len({id(p) for p in parameters}) == len(parameters)
    assert [name for name in handle.tensors() if name.startswith("relation.")] == [
        "relation.linked",
        "relation.matrix",
    ]


def test_a_copy_of_the_encoder_has_its_own_relation(encoder, image, attach):
    attach(encoder, "lora+cobot")
    adapted, twin = encoder(image), copy.deepcopy(encoder)
    with torch.no_grad():
        twin.cobot_relation.matrix.zero_()
    assert torch.equal(encoder(image), adapted)
    assert not torch.allclose(twin(image), adapted)


def test_q_and_v_of_block_l_use_slots_2l_and_2l_plus_1(encoder, attach):
    handle = attach(encoder, "lora+cobot", blocks=(1, 3))
    slots = [
        (place.path, place.adapter.q.projection.linked.slot, place.adapter.v.projection.linked.slot)
        for place in handle.placements
    ]
    assert slots == [("blocks.1.attn.qkv", 0, 1), ("blocks.3.attn.qkv", 2, 3)]


def test_only_the_chosen_blocks_are_adapted(encoder, attach):
    attach(encoder, "adaptformer+cobot", blocks=(0, 2))
    adapted = [isinstance(block.mlp, AdapterModule) for block in encoder.blocks]
    assert adapted == [True, False, True, False]


@pytest.mark.parametrize("name", ["freeze", "lightweight"])
def test_freeze_and_lightweight_leave_the_encoder_and_train_none_of_it(
    name, encoder, image, attach
):
    before = encoder(image)
    handle = attach(encoder, name)
    assert torch.equal(encoder(image), before)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert handle.parameters() == handle.tensors() == {}
    handle.detach()
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_same_seed_same_start(uneven_encoder):
    config = AdapterConfig.named("lora+cobot", relation="fixed")
    starts = []
    for seed in (1, 1, 2):
        handle = attach_adapters(uneven_encoder, config, torch.Generator().manual_seed(seed))
        starts.append(handle.tensors())
        handle.detach()
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert not all(torch.equal(starts[0][name], starts[2][name]) for name in starts[0])


@pytest.mark.parametrize("name", ["lora+cobot", "adaptformer+cobot"])
def test_adapters_take_the_bases_dtype(name, uneven_encoder, attach):
    handle = attach(uneven_encoder.double(), name)
    assert {tensor.dtype for tensor in handle.tensors().values()} == {torch.float64}
    tokens = torch.randn(2, 8, dtype=torch.float64)
    assert uneven_encoder.blocks[0].attn.qkv(tokens).dtype == torch.float64
    assert uneven_encoder.blocks[0].mlp(tokens).dtype == torch.float64


@pytest.mark.parametrize("name", ["lora+cobot", "adaptformer+cobot"])
def test_autocast_runs_forward_and_backward(name, encoder, image, attach):
    handle = attach(encoder, name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = encoder(image)
    output.float().square().sum().backward()
    assert all(parameter.grad is not None for parameter in handle.parameters().values())


def test_training_mode_reaches_the_adapter(encoder, attach):
    handle = attach(encoder, "adaptformer")
    assert not handle.placements[0].adapter.training
    with handle.disabled():
        encoder.train()
    assert handle.placements[0].adapter.training


def test_a_second_adapter_is_refused(encoder, attach):
    attach(encoder, "lora")
    for name in ("lora+cobot", "adaptformer"):
        with pytest.raises(AdapterError, match=r"blocks.0.attn.qkv carries an adapter already"):
            attach(encoder, name)


def test_encoders_without_such_blocks_are_refused(uneven_encoder, attach):
    with pytest.raises(AdapterError, match="Linear has no blocks"):
        attach(torch.nn.Linear(2, 2), "lora")
    with pytest.raises(AdapterError, match=r"\(0, 2\) reach beyond the encoder.* 0 to 1"):
        attach(uneven_encoder, "lora", blocks=(0, 2))
    del uneven_encoder.blocks[1].attn.qkv
    with pytest.raises(AdapterError, match=r"has no blocks.1.attn.qkv"):
        attach(uneven_encoder, "lora")


def test_a_refused_attachment_leaves_the_encoder_as_it_was(uneven_encoder, attach):
    uneven_encoder.blocks[1].attn.qkv = torch.nn.Linear(12, 35)
    before = dict(uneven_encoder.named_modules())
    with pytest.raises(AdapterError, match="3 x width"):
        attach(uneven_encoder, "lora+cobot")
    assert dict(uneven_encoder.named_modules()) == before
    assert all(parameter.requires_grad for parameter in uneven_encoder.parameters())
