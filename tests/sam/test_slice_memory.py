import copy
import gc

import pytest
import torch
from cobot.sam.decoder import grid_positions
from cobot.sam.slice_memory import SliceMemories, places_in_rows, remember


@pytest.fixture
def sam(small_sam):
    return copy.deepcopy(small_sam).requires_grad_(False)


def embedding(seed, grid=8):
    return torch.randn(1, 32, grid, grid, generator=torch.Generator().manual_seed(seed))


def test_holds_what_the_first_layer_projects(sam):
    features = embedding(0)
    memory = SliceMemories(sam).of(features)
    layer = sam.mask_decoder.transformer.layers[0]
    looks, answers = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    image = places_in_rows(features + sam.prompt_encoder.no_mask_embed.weight[:, :, None, None])
    placed = image + places_in_rows(grid_positions(sam.prompt_encoder, 8))
    torch.testing.assert_close(memory.image, image)
    for found, expected in (
        (memory.key, looks.k_proj(placed) - looks.k_proj.bias),
        (memory.value, looks.v_proj(image)),
        (memory.query, answers.q_proj(placed)),
    ):
        torch.testing.assert_close(found.flatten(0, 1).T, expected[0], rtol=1e-4, atol=1e-5)


def test_places_are_rows_of_the_grid():
    grid = torch.arange(12.0).reshape(1, 2, 2, 3)
    assert places_in_rows(grid).tolist() == [[[n, n + 6] for n in range(6)]]


def test_a_slice_is_computed_once_and_at_every_size(sam):
    memories = SliceMemories(sam)
    one, small = embedding(0), embedding(0, grid=4)
    first = memories.of(one)
    assert memories.of(small).image.shape == (1, 16, 32)
    assert memories.of(one) is first
    assert memories.of(one.clone()) is not first
    assert memories.positions(8) is memories.positions(8)


def test_the_least_recently_used_go_when_bytes_run_out(sam):
    slices = [embedding(seed) for seed in range(3)]
    one = remember(sam, slices[0], SliceMemories(sam).positions(8)).nbytes
    assert one == 4 * 64 * (32 + 3 * 16)
    memories = SliceMemories(sam, limit_bytes=2 * one)
    first, second, _ = (memories.of(slices[index]) for index in (0, 1, 0))
    memories.of(slices[2])
    assert (len(memories), memories.nbytes) == (2, 2 * one)
    assert memories.of(slices[0]) is first
    assert memories.of(slices[1]) is not second
    tight = SliceMemories(sam, limit_bytes=1)
    assert tight.of(slices[0]) is tight.of(slices[0])


def test_a_memory_goes_with_its_embedding(sam):
    memories, kept = SliceMemories(sam), embedding(0)
    memories.of(kept)
    memories.of(embedding(1))
    gc.collect()
    memories.of(kept)
    assert len(memories) == 1


@pytest.mark.parametrize(
    "name",
    [
        "prompt_encoder.no_mask_embed.weight",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.k_proj.weight",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.v_proj.bias",
        "mask_decoder.transformer.layers.0.cross_attn_image_to_token.q_proj.weight",
    ],
)
def test_nothing_outlives_the_weights_it_came_from(sam, name):
    memories, features = SliceMemories(sam), embedding(0)
    before = memories.of(features)
    sam.state_dict()[name].mul_(1.5)
    after = memories.of(features)
    assert after is not before
    fresh = SliceMemories(sam).of(features)
    assert torch.equal(after.key, fresh.key)
    assert torch.equal(after.value, fresh.value)
    assert torch.equal(after.query, fresh.query)
    assert any(
        not torch.equal(getattr(before, part), getattr(after, part))
        for part in ("image", "key", "value", "query")
    )
