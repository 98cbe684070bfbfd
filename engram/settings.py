"""Every setting of Engram, read from `ENGRAM_*` environment variables. Nothing else reads the environment."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Defaults make the embedded product: one machine, SQLite, one vLLM process, no auth on loopback."""

    model_config = SettingsConfigDict(env_prefix="ENGRAM_", extra="ignore", populate_by_name=True)

    # State and addresses
    home: Path = Field(Path.home() / ".engram", description="Folder of all state: database, models, adapters, logs.")
    host: str = Field("127.0.0.1", description="Address the server listens on. Off loopback, auth must be on.")
    port: int = Field(
        8000,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("ENGRAM_PORT", "PORT"),
        description="Port of the server. `PORT` works too.",
    )
    database_url: str = Field("", description="SQLAlchemy URL. Empty: SQLite in ENGRAM_HOME.")
    queue_url: str = Field("", description="`redis://...`, or empty for a SQLite file in ENGRAM_HOME.")
    auth: bool = Field(False, description="Require API keys. Off is allowed on loopback addresses only.")
    max_body_bytes: int = Field(1_000_000, description="Largest request body accepted, in bytes.")

    # The base model and its engine
    model: str = Field("", description="Base model: empty for the embedded one, else a local folder or hub id.")
    engine_urls: str = Field(
        "http://127.0.0.1:8001", description="vLLM replicas, comma-separated. `engram up` starts the first one itself."
    )
    engine_api_key: str = Field("", description="Key that vLLM replicas ask for. Empty: none.")
    engine_timeout_s: float = Field(120.0, description="Longest wait for one engine answer, in seconds.")
    engine_max_model_len: int = Field(2048, description="Context length vLLM is started with, in tokens.")
    engine_kv_cache_gib: int = Field(1, description="KV cache of the CPU engine, in GiB.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Numbers used for serving and training. auto: bfloat16 where the processor is fast at it."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the trainer runs. auto: CUDA if present.")
    max_output_tokens: int = Field(512, description="`max_tokens` of a chat request that names none.")
    default_temperature: float = Field(
        0.2,
        ge=0,
        le=2,
        description="`temperature` of a chat request that names none; at OpenAI's 1 a small base strays.",
    )

    # Learning
    learn_automatically: bool = Field(True, description="Learn pending facts without being asked.")
    learn_delay_s: float = Field(
        1.0, description="Where a run takes several facts: wait for more of them before it starts, in seconds."
    )
    max_facts_per_run: int = Field(8, description="Most facts one learning run takes.")
    facts_per_shard: int = Field(
        1, ge=0, description="Facts one LoRA holds before the next fact begins a new one. 0: one LoRA holds all."
    )
    max_run_attempts: int = Field(3, description="Tries at one learning run before it ends as failed.")
    lora_rank: int = Field(16, description="Rank of a fact adapter. vLLM is started to serve it.")
    first_trained_layer: float = Field(
        1 / 3, description="Share of the lowest layers that keep no LoRA (their activations are computed once)."
    )
    training_steps: int = Field(24, description="Optimizer steps of a run with one fact; more facts take more.")
    learning_rate: float = Field(2e-3, description="Peak AdamW learning rate of an adapter.")
    shared_steps: float = Field(
        0.8, ge=0, lt=1, description="Share of the steps that candidates do as one, on the notes that all of them have."
    )
    candidates_compared_at: float = Field(
        0.25,
        gt=0,
        description="Share of the steps apart after which the best third goes on. 1: all candidates go on.",
    )
    converged_loss: float = Field(
        0.05, ge=0, description="Loss on its notes, in nats a token, at which a candidate's training ends. 0: never."
    )
    rehearsal_notes_per_step: int = Field(9, description="Notes of earlier facts in each step.")
    anchor_prompts_per_step: int = Field(2, description="Unrelated prompts in each step, held to the base's answers.")
    personal_anchors_per_step: int = Field(
        1, description="Questions about the user that were never told in each step, held to the base's answers."
    )
    anchor_weight: float = Field(1.5, description="Weight of the KL term to the base on anchor prompts.")
    consolidate_after_runs: int = Field(
        0, ge=0, description="Published learning runs after which a space is consolidated once it is idle. 0: never."
    )
    consolidate_idle_s: float = Field(120.0, description="No message for so long counts as idle, in seconds.")
    seed: int = Field(0, description="Seed of a run's sampling, shuffling and initial weights.")
    trainer_threads: int = Field(0, description="Threads of the trainer. 0: all cores.")

    # Scope
    scope_min_margin: float = Field(
        0.05,
        description="A message that is nearer by so much (in cosine) to what was taught than to what was not is "
        "answered by the memory. -2: all are.",
    )

    # Gate
    gate_min_reliability: float = Field(0.6, description="Least share of new facts' probes answered right.")
    gate_min_gain: float = Field(0.3, description="Least gain over the live version on new facts' probes.")
    gate_max_retention_loss: float = Field(0.15, description="Largest share of earlier facts' probes that may be lost.")
    gate_max_faded: float = Field(
        0.05,
        description="How much less likely an earlier fact's replies may become in its own weights, nats a token.",
    )
    gate_min_locality: float = Field(0.85, description="Least share of control answers that stay right.")
    gate_max_false_recall: float = Field(
        0.85, description="Largest share of never-told questions answered as told by the weights alone."
    )
    gate_max_kl: float = Field(0.3, description="Largest mean KL(base || candidate) a token on held-out prompts, nats.")

    # Publishing
    served_check_min_agreement: float = Field(
        0.75, description="Least share of probe answers that vLLM must give right as the trainer did."
    )
    canary_share: float = Field(0.0, description="Share of a space's requests that a canary answers. 0: no canary.")
    canary_s: float = Field(0.0, description="How long a version stays canary before it goes live, in seconds.")
    keep_versions_loaded: int = Field(3, description="Former live versions of a space kept loaded for rollback.")
    max_loaded_adapters: int = Field(16, description="Adapters vLLM keeps in memory (`--max-cpu-loras`).")
    unload_grace_s: float = Field(30.0, description="Wait after the last request before a version is unloaded.")
    reconcile_interval_s: float = Field(1.0, description="How often the server compares the engine with the database.")

    # Process
    log_level: str = Field("INFO", description="Least level that is logged.")
    worker_niceness: int = Field(
        5, ge=0, le=19, description="How far the worker stands back from serving on shared cores, as `nice` counts."
    )
    worker_stale_s: float = Field(30.0, description="A run without heartbeat for so long is taken over, in seconds.")

    @cached_property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'engram.db'}"

    @property
    def most_facts_at_once(self) -> int:
        """Most facts that one learning run takes: it trains one LoRA."""
        return min(self.max_facts_per_run, self.facts_per_shard or self.max_facts_per_run)

    @property
    def engines(self) -> list[str]:
        """Base URLs of the vLLM replicas, without a trailing slash."""
        urls = self.engine_urls.split(",")
        return [url.strip().rstrip("/") for url in urls if url.strip()]

    @property
    def queue_path(self) -> Path:
        return self.home.absolute() / "queue.db"

    @property
    def adapters_dir(self) -> Path:
        return self.home.absolute() / "adapters"

    @property
    def models_dir(self) -> Path:
        return self.home.absolute() / "models"

    @property
    def logs_dir(self) -> Path:
        return self.home.absolute() / "logs"
