import pytest
from cobot.adapters.learning_rates import learning_rate_groups
from torch import nn


@pytest.mark.parametrize("name", ["lora+cobot", "adaptformer+cobot"])
def test_s_lambda_and_w_have_their_own_rate(name, encoder, attach):
    handle = attach(encoder, name)
    decoder = nn.Parameter(encoder.pos_embed.detach().clone())
    base, fast = learning_rate_groups(handle, 1.25e-6, 1.25e-4, (decoder,))
    assert (base["lr"], fast["lr"]) == (1.25e-6, 1.25e-4)
    names = {id(parameter): path for path, parameter in handle.parameters().items()}
    endings = {names[id(parameter)].rsplit(".", 1)[1] for parameter in fast["params"]}
    assert endings == {"linked", "matrix", "own", "components"}
    assert base["params"][-1] is decoder
    assert len(base["params"]) - 1 + len(fast["params"]) == len(names)


def test_plain_methods_have_one_group(encoder, attach):
    handle = attach(encoder, "lora")
    assert [group["name"] for group in learning_rate_groups(handle, 1.0, 2.0)] == ["base"]
