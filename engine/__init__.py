"""What Engram adds inside vLLM's own processes. Loaded by vLLM as a plugin, imported by nothing else."""


def register() -> None:
    """Entry point `vllm.general_plugins`: have the CPU build apply LoRA as `engine.cpu_lora` does."""
    from vllm.platforms.cpu import CpuPlatform

    CpuPlatform.get_punica_wrapper = classmethod(lambda cls: "engine.cpu_lora.GroupedLora")
