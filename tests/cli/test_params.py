import json

import pytest
from cobot.cli.main import app
from cobot.cli.params import count_methods
from cobot.errors import ConfigError
from typer.testing import CliRunner

VIT_B = {
    "lora": 147456,
    "lora+cobot": 148320,
    "adaptformer": 322752,
    "adaptformer+cobot": 324048,
    "freeze": 0,
    "lightweight": 0,
}


def test_json_is_exactly_the_papers_table():
    result = CliRunner().invoke(app, ["params", "--encoder", "vit_b", "--json"])
    assert result.exit_code == 0
    assert result.stdout == json.dumps(VIT_B) + "\n"


def test_table_shows_what_cobot_adds():
    result = CliRunner().invoke(app, ["params"])
    assert result.exit_code == 0
    for text in ("148,320", "+864", "324,048", "+1,296"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("encoder", "dim", "depth"),
    [("vit_l", 1024, 24), ("vit_h", 1280, 32), ("tiny", 192, 8)],
)
def test_other_encoders_and_sizes(encoder: str, dim: int, depth: int):
    counts = count_methods(encoder, rank=8, width=32)
    assert counts["lora"] == 4 * dim * 8 * depth
    slots = 2 * depth
    assert counts["lora+cobot"] - counts["lora"] == 2 * 8 * slots + slots**2 + 16 * slots
    assert counts["adaptformer"] == depth * (3 * dim + 2 * dim * 32 + 32)


def test_refusals():
    with pytest.raises(ConfigError, match="divisible by 4"):
        count_methods("vit_b", rank=6, width=16)
    with pytest.raises(ConfigError, match="vit_x"):
        count_methods("vit_x", rank=4, width=16)
