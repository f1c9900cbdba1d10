"""One rule for the device and one for the precision, whatever machine the tests run on."""

import sys

import pytest
import torch

from wsss_mm.engine.precision import training_precision
from wsss_mm.errors import InputError
from wsss_mm.inference.runtime import DEVICE, choose_device, choose_precision, device_of, prepare_torch, reduced
from wsss_mm.wsi import SlideModel


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU that emulates bf16, as T4 and V100 do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


def test_a_gpu_is_taken_if_there_is_one(monkeypatch):
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device() == device


@pytest.mark.parametrize("there", [False, True])
def test_deterministic_algorithms_without_an_import_of_the_compiler(there, monkeypatch):
    before, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setitem(sys.modules, "torch._inductor", None)  # whoever imports it fails
    try:
        prepare_torch(1)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == there
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.set_num_threads(threads)


def test_what_is_told_is_taken(gpu):
    assert choose_device("cpu") == "cpu"


def test_the_environment_names_one_for_all_that_is_started_in_it(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv(DEVICE, "cuda:1")
    assert (choose_device(), choose_device("cpu"), choose_device("cuda:0")) == ("cuda:1", "cpu", "cuda:0")
    monkeypatch.setenv(DEVICE, "cpu")
    assert choose_device() == "cpu"
    monkeypatch.setenv(DEVICE, "")
    assert choose_device() == "cuda"


@pytest.mark.parametrize(("told", "there", "message"), [
    ("cuda", 0, "device cuda: torch finds 0 GPUs here; give cpu, or none"),
    ("cuda:2", 2, "device cuda:2: torch finds 2 GPUs here; give cpu, cuda:0, or none"),
    ("mps", 2, "device mps: is no device that networks run on here; give cpu, cuda, or cuda:1 and so on"),
    ("gpu", 1, "device gpu: is no device that networks run on here; give cpu, cuda, or cuda:1 and so on"),
])  # fmt: skip
def test_a_device_that_is_not_here_is_refused(monkeypatch, told, there, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(InputError) as error:
        choose_device(told)
    assert str(error.value) == message
    monkeypatch.setenv(DEVICE, told)
    with pytest.raises(InputError, match=f"^{DEVICE} {told}: "):
        choose_device()


def test_data_go_where_the_network_is():
    assert device_of(torch.nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(torch.nn.BatchNorm2d(1, affine=False, device="meta")) == torch.device("meta")
    assert device_of(torch.nn.Identity()) == torch.device("cpu")


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize(("task", "chosen"), [("training", "fp32"), ("patches", "fp32"), ("slides", None)])
def test_auto_on_a_cpu(monkeypatch, task, chosen, amx):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    assert choose_precision("auto", "cpu", task) == (chosen or ("bf16" if amx else "fp32"))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("task", ["training", "slides", "patches"])
def test_auto_on_a_gpu_takes_bf16_where_hardware_has_it(monkeypatch, task, native):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    fast = "bf16" if native else "fp16"
    assert choose_precision("auto", "cuda", task) == ("fp32" if task == "patches" else fast)


@pytest.mark.parametrize("task", ["training", "slides", "patches"])
class TestAsked:
    @pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
    def test_is_what_is_taken_on_a_gpu(self, gpu, task, wanted):
        assert choose_precision(wanted, "cuda", task) == wanted

    def test_but_not_without_a_gpu(self, task):
        with pytest.raises(InputError, match="here: fp16 needs a GPU; on a CPU, set bf16 or fp32"):
            choose_precision("fp16", "cpu", task, "here")

    def test_nor_where_a_gpu_lacks_it(self, monkeypatch, task):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
        with pytest.raises(InputError, match="here: this GPU has no bf16; set fp16 or fp32"):
            choose_precision("bf16", "cuda", task, "here")


def test_trainings_and_slides_agree_on_a_gpu_that_emulates_bf16(gpu, monkeypatch):
    """T4 and V100 multiply bf16 tens of times slower than fp16, and torch says they support it."""

    class Network(torch.nn.Module):
        pass

    info = {"kind": "segmenter", "classes": [], "mpp": 1, "digest": "", "weights_md5": ""}
    loaded = []
    monkeypatch.setattr("wsss_mm.models.load_model", lambda folder, device: loaded.append(device) or (Network(), info))
    assert training_precision("auto", "segmenter") == "fp16"
    assert SlideModel.from_folder("models/segmenter").precision == "fp16"
    assert loaded == ["cuda"]


def test_types():
    assert [reduced(name) for name in ("fp32", "bf16", "fp16")] == [None, torch.bfloat16, torch.float16]
