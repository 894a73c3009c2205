import torch

from magicdance_core import MagicDancePipeline, train


def test_the_script_ends_with_a_model_that_dances(finished, capsys):
    out, _ = finished
    assert train.main(["smoke", "--out", str(out), "--device", "cpu"]) == 0
    assert str(out / "final" / "model.safetensors") in "".join(capsys.readouterr())
    pipe = MagicDancePipeline.from_single_file(out / "final" / "model.safetensors")
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.defaults == {"num_inference_steps": 4, "guidance_scale": 1.5, "sample_size": 32}
    frames = pipe(torch.rand(3, 32, 32), torch.rand(2, 3, 32, 32), output_type="pt").frames
    assert frames.shape == (2, 3, 32, 32) and frames.isfinite().all()


def test_a_wrong_configuration_is_one_line_and_status_2(tmp_path, capsys):
    assert train.main([str(tmp_path / "absent.yaml")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "absent.yaml" in message
