from inspect import unwrap

import pytest
import torch
from cobot.errors import ConfigError
from cobot.sam.encoder_plan import (
    PRECISION_VARIABLE,
    choose_dtype,
    choose_plan,
    cpu_is_fast_in_bf16,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_cpus_work_in_chunks_and_cards_by_fused_kernels():
    assert choose_plan(CPU, torch.float32).whole == "chunked"
    assert choose_plan(CPU, torch.float32).windows == "chunked"
    assert choose_plan(CPU, torch.bfloat16).windows == "chunked concatenated"
    assert choose_plan(CUDA, torch.bfloat16).whole == "biased"


def test_no_plan_for_training_keeps_a_bias():
    for device in (CPU, CUDA):
        for dtype in (torch.float32, torch.bfloat16):
            plan = choose_plan(device, dtype, training=True, checkpointing=True)
            assert "biased" not in (plan.windows, plan.whole)
            assert plan.checkpointing


def test_what_is_asked_for_is_what_is_taken(monkeypatch):
    monkeypatch.setenv(PRECISION_VARIABLE, "bf16")
    assert choose_dtype("bf16", CPU) == torch.bfloat16
    assert choose_dtype("fp32", CUDA) == torch.float32


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_environment_says_what_auto_means(monkeypatch, device):
    for text, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        monkeypatch.setenv(PRECISION_VARIABLE, text)
        assert choose_dtype("auto", device) == dtype
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with pytest.raises(ConfigError, match="'half' in COBOT_PRECISION; expected fp32, bf16 or auto"):
        choose_dtype("auto", device)


@pytest.mark.parametrize("text", ["", "auto"])
@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bf16_on_cpus_that_multiply_in_it(monkeypatch, fast, text):
    monkeypatch.setenv(PRECISION_VARIABLE, text)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast})
    assert choose_dtype("auto", CPU) == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize("supported", [True, False])
def test_auto_is_bf16_on_cards_that_compute_in_it(monkeypatch, supported):
    monkeypatch.delenv(PRECISION_VARIABLE)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert choose_dtype("auto", CUDA) == (torch.bfloat16 if supported else torch.float32)


def test_refuses_an_unknown_precision():
    with pytest.raises(ConfigError, match="'fp16'; expected fp32, bf16 or auto"):
        unwrap(choose_dtype)("fp16", CPU)


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)],
)
def test_knows_cpus_that_multiply_in_bf16(monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert cpu_is_fast_in_bf16() is fast
