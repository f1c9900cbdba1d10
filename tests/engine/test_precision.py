"""Mixed precision and gradient accumulation against plain training."""

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from wsss_mm.engine.loop import PiecewiseTrainLoop
from wsss_mm.engine.precision import BFloat16OptimWrapper, lay_out, training_precision
from wsss_mm.errors import InputError
from wsss_mm.models import PatchClassifier


class TestAuto:
    def test_on_a_cpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert training_precision("auto", "segmenter") == "fp32"
        assert training_precision("bf16", "segmenter") == "bf16"

    @pytest.mark.parametrize("native", [True, False])
    def test_on_a_gpu(self, monkeypatch, native):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native)
        assert training_precision("auto", "segmenter") == ("bf16" if native else "fp16")
        if not native:
            with pytest.raises(InputError, match=r"segmenter\.precision: this GPU has no bf16; set fp16"):
                training_precision("bf16", "segmenter")

    def test_fp16_needs_a_gpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match=r"classifier\.precision: fp16 needs a GPU; on a CPU, set bf16"):
            training_precision("fp16", "classifier")


class TestLayout:
    @pytest.mark.parametrize(
        ("gpu", "wrapper", "last"),
        [
            (True, {"type": "wsss_mm.BFloat16OptimWrapper"}, True),
            (True, {"type": "AmpOptimWrapper"}, True),
            (True, {"type": "OptimWrapper"}, False),
            (True, None, False),
            (False, {"type": "wsss_mm.BFloat16OptimWrapper"}, False),
        ],
    )
    def test_channels_are_last_in_reduced_precision_on_a_gpu(self, monkeypatch, gpu, wrapper, last):
        monkeypatch.setattr("wsss_mm.engine.precision.is_gpu", lambda device: gpu)
        network = nn.Conv2d(4, 6, 3)
        weight = network.weight.detach().clone()
        lay_out(network, wrapper)
        assert network.weight.is_contiguous(memory_format=torch.channels_last) == last
        assert torch.equal(network.weight, weight)


class TestBFloat16:
    @pytest.fixture
    def models(self):
        """The same classifier twice, in training, with attention on."""
        normalize = {"type": "mmengine.ImgDataPreprocessor", "mean": [0.0] * 3, "std": [1.0] * 3}
        backbone = {"type": "wsss_mm.ResNet38", "width": 1 / 16}
        attention = {"type": "wsss_mm.ProgressiveDropoutAttention"}
        found = []
        for _ in range(2):
            torch.manual_seed(0)
            model = PatchClassifier(backbone, 4, attention=attention, dropout=0.0, data_preprocessor=normalize).train()
            model.init_weights()
            model.attention.epoch = 5
            for unit in (model.backbone.b6, model.backbone.b7):
                unit.dropout.p = 0.0
            found.append(model)
        return found

    def test_only_products_are_rounded(self, models):
        """Gradients agree with float32's; weights, logits and batch statistics are float32."""
        torch.manual_seed(1)
        images, seen = torch.randn(4, 3, 48, 48), {}
        labels = (torch.rand(4, 4) < 0.5).float()
        for name, model in zip(("fp32", "bf16"), models, strict=True):
            dtypes = set()
            model.backbone.b5.conv_branch2a.register_forward_hook(lambda *a, d=dtypes: d.add(a[-1].dtype))
            wrapper = (OptimWrapper if name == "fp32" else BFloat16OptimWrapper)(
                optimizer=torch.optim.SGD(model.parameters(), lr=0.0)
            )
            with wrapper.optim_context(model):
                logits = model.logits(images)
            assert logits.dtype == torch.float32
            assert dtypes == {torch.float32 if name == "fp32" else torch.bfloat16}
            wrapper.backward(nn.functional.multilabel_soft_margin_loss(logits, labels))
            gradients = [parameter.grad for parameter in model.parameters()]
            assert {gradient.dtype for gradient in gradients} == {torch.float32}
            assert {b.dtype for b in model.buffers() if b.is_floating_point()} == {torch.float32}
            seen[name] = torch.cat([gradient.flatten() for gradient in gradients])
        assert nn.functional.cosine_similarity(*seen.values(), dim=0) > 0.97
        for plain, rounded in zip(models[0].buffers(), models[1].buffers(), strict=True):
            torch.testing.assert_close(plain, rounded, rtol=0.05, atol=0.02)


class Points(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        return {"inputs": torch.from_numpy(rng.normal(size=3)).float(), "data_samples": float(rng.normal())}


class Line(BaseModel):
    """Linear regression: no batch normalisation, so pieces must give exactly the whole."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.constant_(self.layer.bias, 0.0)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        error = self.layer(torch.stack(list(inputs)))[:, 0] - torch.tensor(data_samples)
        return {"loss": (error**2).mean()}


@pytest.mark.parametrize("pieces", [2, 4])
def test_pieces_are_the_whole(tmp_path, pieces):
    """Same losses, learning rates, number of updates and weights as without accumulation."""

    def train(parts):
        seen = []

        class Loop(PiecewiseTrainLoop):
            def run_iter(self, batch):
                runner = self.runner
                call = runner.call_hook

                def spy(name, **arguments):
                    if name == "after_train_iter":
                        seen.append((float(arguments["outputs"]["loss"]), runner.optim_wrapper.get_lr()["lr"][0]))
                    call(name, **arguments)

                runner.call_hook = spy
                super().run_iter(batch)
                runner.call_hook = call

        model = Line()
        runner = Runner(
            model,
            str(tmp_path / str(parts)),
            train_dataloader={
                "batch_size": 8,
                "dataset": Points(),
                "sampler": {"type": "InfiniteSampler", "shuffle": False},
            },
            train_cfg={"by_epoch": False, "max_iters": 6},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}, "accumulative_counts": parts},
            param_scheduler=[{"type": "PolyLR", "by_epoch": False, "end": 6, "eta_min": 0.0, "power": 0.9}],
            log_level="ERROR",
            experiment_name=f"pieces-{parts}",
        )
        runner._train_loop = Loop(runner, runner.build_dataloader(runner._train_dataloader), 6, pieces=parts)
        runner.train()
        return seen, model.state_dict()

    (whole, weights), (parts, same) = train(1), train(pieces)
    assert len(whole) == len(parts) == 6
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    torch.testing.assert_close(same, weights)
