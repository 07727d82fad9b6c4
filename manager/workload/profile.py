"""WorkloadProfile: what a run demands of any machine, apart from all machines."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedMean:
    """Padding of batches that are cut into parts."""

    samples: int
    """Of a part, all padded to its longest."""
    tokens: float
    """Of a training sample, mean, padding included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStats:
    """The data set as the trainer sees it: tokens after truncation to max_length, images, or audio.

    "Tokens" here are the length S of a sample as `tasks.step_trace` counts it: tokens of text (of the source for
    seq2seq-lm, of the transcript for speech-seq2seq), 1 for an image, samples of the waveform at 16 kHz for audio that
    is read raw.
    """

    train_samples: int
    validation_samples: int
    test_samples: int
    labels: tuple[str, ...]
    mean_tokens: float
    """Tokens of a training sample, mean."""
    longest_tokens: int
    """Over the splits that are used: evaluation at a length that training never sees needs its memory too."""
    padded_mean_tokens: float
    """Tokens of a training sample, padding included, with length-grouped batches of the asked size."""
    truncated_share: float
    """Share of the training samples longer than max_length, 0 to 1."""
    bytes: int
    """Size of the source, to be moved to the machine."""
    sha256: str | None
    """None when the data was not read (a hub id or a bucket, before the run)."""
    basis: str
    """How the figures came about, for people: `all samples tokenized`, `estimated at 4 characters a token` ..."""
    measured: bool
    """False when lengths are estimated: intervals widen."""
    kind: str = "tokens"
    """tokens, images or audio."""
    packed_sequences: int | None = None
    """causal-lm: sequences of at most max_length tokens into which packing puts the training set, asked for or not."""
    packed_fill: float | None = None
    """causal-lm: share of packed_sequences x max_length that samples fill, 0 to 1."""
    mean_target_tokens: float | None = None
    """Tokens of a training sample's target (seq2seq-lm, speech-seq2seq), mean; characters for speech-ctc; for causal-lm
    the tokens that are learnt."""
    longest_target_tokens: int | None = None
    mean_width: float | None = None
    """Pixels of a training image as it is stored; the model sees it at training.image_size."""
    mean_height: float | None = None
    largest_width: int | None = None
    largest_height: int | None = None
    mean_seconds: float | None = None
    """Duration of a training recording."""
    longest_seconds: float | None = None
    sampling_rate_hz: int | None = None
    """Of most recordings."""
    padded_means: tuple[PaddedMean, ...] = ()
    """With length-grouped batches of the asked size in smaller and smaller parts, from single samples to the whole
    batch; empty where it was not measured, or samples are equally long."""

    def padded_tokens_at(self, samples: float) -> float:
        """Mean length with so many neighbours of a batch padded to their longest; between measured parts by their
        logarithm, since the longest of many grows about as slowly."""
        known = self.padded_means
        if not known:
            return self.padded_mean_tokens
        above = next((at for at, part in enumerate(known) if part.samples >= samples), len(known) - 1)
        after, before = known[above], known[max(0, above - 1)]
        if samples >= after.samples or before is after:
            return after.tokens
        share = math.log(samples / before.samples) / math.log(after.samples / before.samples)
        return before.tokens + share * (after.tokens - before.tokens)

    @property
    def padding_share(self) -> float:
        """Share of the computed tokens that is padding, with length-grouped batches of the asked size; 0 to 1."""
        return 0.0 if self.padded_mean_tokens <= 0 else max(0.0, 1 - self.mean_tokens / self.padded_mean_tokens)

    def training_sequences(self, *, is_packed: bool) -> int:
        """Rows of one epoch: packed sequences when packing is asked for and known, else training samples."""
        return self.packed_sequences if is_packed and self.packed_sequences else self.train_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadProfile:
    """What the run demands; the step itself is a trace (`workload.traces`), micro-batch and machine enter later."""

    model: str
    """Name of the model for people."""
    task: str = "text-classification"
    method: str
    precision: str
    optimizer: str = "adamw"
    gradient_checkpointing: bool
    lora_rank: int | None
    """None without adapters."""
    parameters: int
    """Of the model as it is trained, head and adapters included."""
    trainable_parameters: int
    num_labels: int
    batch_size: int
    """Samples per optimizer step over all devices."""
    steps: int
    """Optimizer steps of the whole run."""
    evaluations: int
    """Evaluations on validation, without baseline and final."""
    samples_seen: int
    """Training samples (packed: sequences) over all epochs."""
    data: DataStats
    flops_per_step: float
    """Floating-point operations of forward, backward and update for one global batch of mean length."""
    flops_evaluation: float
    """Of all evaluations together: baseline, intervals, final."""
    tokens_per_epoch: int
    """Without padding; images count 1 each, raw audio its samples at 16 kHz."""
    weights_bytes: int
    """Of the files to be moved to the machine."""
    checkpoint_bytes: int
    """One checkpoint: weights or adapter, optimizer state."""
    basis: str
    """How FLOPs and memory came about, for people."""
    step_length: float | None = None
    """Length of all sequences of a training step, when they are packed; None: that of the data."""
    longest_length: int | None = None
    """Longest sample of a training step, which sets the peak of memory; None: that of the data."""
    model_from_hub: bool = True
    """Whether a machine elsewhere can fetch the model from the hub; False: it has to be sent from here."""
    data_from_hub: bool = False
    """The same of the data: a hub id or a bucket; False: they lie here."""
    model_is_here: bool = False
    """Whether the weights lie on this machine: a folder, or the hub's cache."""
    checkpoints: int = 0
    """Checkpoints written during the run."""
    asked_micro_batch: int | None = None
    """Micro-batch that the user fixed; None: the largest that fits is taken."""
    loading_bytes: int = 0
    """In the host's memory, of each process, while the model is read: 0 where tensors go to the accelerator at once or
    stay mapped from their file."""
    whole_loading_bytes: int = 0
    """The same where weights are divided over devices: of the first process, which alone reads the model."""
    export_bytes: int = 0
    """In the host's memory, of the first process, while the tuned model is written."""
    whole_export_bytes: int = 0
    """The same where weights are divided: the first process gathers them to the host before it writes."""
    export_file_bytes: int = 0
    """Of the files of the tuned model, and of the adapter beside it: written once, then brought home."""
    loss: str = "plain"
    """plain or chunked, as the run asks for it."""
    attention: str = "auto"
    """auto, eager, sdpa or flash_attention_2, as the run asks for it."""

    def mean_step_length(self, samples: float) -> float:
        """Length that time follows where so many samples are padded to their longest; devices wait for each other."""
        return self.data.padded_tokens_at(samples) if self.step_length is None else self.step_length

    @property
    def peak_length(self) -> int:
        """Length that memory follows."""
        return self.data.longest_tokens if self.longest_length is None else self.longest_length
