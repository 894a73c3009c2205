import torch

from magicdance_core import MagicDancePipeline, train


def test_the_command_trains_a_model_that_animates(finished, capsys):
    out, _ = finished
    assert train.main(["smoke", "--out", str(out), "--device", "cpu"]) == 0
    assert str(out / "final" / "model.safetensors") in "".join(capsys.readouterr())
    pipe = MagicDancePipeline.from_single_file(out / "final" / "model.safetensors")
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.defaults == {"num_inference_steps": 4, "guidance_scale": 1.5, "sample_size": 32}
    frames = pipe(torch.rand(3, 32, 32), torch.rand(2, 3, 32, 32), output_type="pt").frames
    assert frames.shape == (2, 3, 32, 32) and frames.isfinite().all()


def test_a_wrong_configuration_ends_with_one_line_and_status_2(tmp_path, capsys):
    assert train.main([str(tmp_path / "absent.yaml")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "absent.yaml" in message


def test_out_of_memory_says_what_to_change(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("magicdance_core.training.engine.train", full)
    assert train.main(["smoke", "--out", str(tmp_path)]) == 2
    assert "lower per_pass" in capsys.readouterr().err
