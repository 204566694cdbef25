"""What each key of the config means, in a sentence or two: `headstart train --help KEY` shows it.

Keys of a phase stand under `PHASE`, whatever the phase's name is. The arguments of what a `_target_` names have their
meaning in its docstring (`headstart.config.docstrings`), except those of libraries.
"""

PHASE = "strategy.phases.PHASE"

MEANINGS = {
    "model": "The network, and where its weights come from.",
    "model.name": "The network, by its timm name; a group file (model=resnet18) sets it, model=timm takes any.",
    "model.weights": "Where pretrained weights come from: imagenet (timm's), package:NAME, a file, local-dir:FOLDER, "
    "hf-hub:ID, run:FOLDER of an earlier run, or none.",
    "model.args": "Arguments of the network's constructor, such as {drop_rate: 0.2}.",
    "strategy": "How the network learns: phases in their order, and whether weights start pretrained.",
    "strategy.name": "What the strategy is called in folders, tables and plots.",
    "strategy.start": "Whether weights start as pretrained, or at random (scratch).",
    "strategy.phases": "The phases by name, in their order; each hands its best weights to the next.",
    PHASE: "One phase: how long it lasts, and at what rate each part of the network learns.",
    f"{PHASE}.rates": "By part of the network: what the learning rate is multiplied by; null is frozen. Parts are all, "
    "head, backbone, last, first, norm, bias, depth1-3, stem0-1 or name:REGEX; the first that matches counts. "
    "{rate: r, decay: d} gives r x d^depth; last and first take groups, the number of stages.",
    f"{PHASE}.epochs": "How many epochs the phase learns by gradient; null if it has a probe.",
    f"{PHASE}.probe": "What fits the head on cached features, in place of epochs; ${head.probe}: the group head.",
    f"{PHASE}.augment": "Whether training images are augmented; null: as the group augment says, false: never.",
    f"{PHASE}.views": "How many augmented views of each training image are cached; null: the images as they are.",
    f"{PHASE}.cache": "Whether the output of frozen layers is cached; false: it is computed again in every epoch.",
    f"{PHASE}.statistics": "Batch norms whose weights learn take a batch's statistics (live), or keep the pretrained "
    "ones (frozen).",
    f"{PHASE}.lr": "The learning rate of this phase; null: optimizer.lr.",
    f"{PHASE}.weight_decay": "The weight decay of this phase; null: the optimizer's.",
    f"{PHASE}.penalty": "What is added to the loss, such as L2SP, the distance from the pretrained weights.",
    f"{PHASE}.average": "The decay of a moving average of the weights, which is validated and kept; null: no average.",
    "head": "The probe that fits the head on features of the frozen backbone.",
    "head.kind": "What the probe is called.",
    "head.probe": "The probe, as the class that _target_ names, and its arguments.",
    "data": "The labelled images, their size, and how many are used.",
    "data.name": "What the data is called in folders, tables and plots.",
    "data.source": "Where images and labels come from: the function that _target_ names, and its arguments.",
    "data.image_size": "The side of the network's input in pixels; null: as the network was pretrained.",
    "data.resize": "How an image becomes a square: crop its centre, squash it, or pad it with the mean; auto: as the "
    "weights say.",
    "data.flip": "Whether images keep their meaning when mirrored; digits do not.",
    "data.batch_size": "Images in a batch, of each process.",
    "data.train_per_class": "Images of each class to learn from, those for validation included; null: all.",
    "data.train_fraction": "The share of the training images to learn from, those for validation included; null: all.",
    "data.n_train": "Images to learn from in all, those for validation included; null: all.",
    "data.n_test": "Images to test on; null: all.",
    "data.val_fraction": "The share of the training images for validation, where the data has no such part.",
    "data.test_fraction": "The share of all images that is kept for testing, where the data has no such part.",
    "data.group": "What must not stand in two parts, such as a patient: a table's column, or regex:PATTERN.",
    "data.folds": "Cross-validation: into how many parts the images are cut; null: none.",
    "data.fold": "Which of the data.folds parts is the test set, counted from 0.",
    "data.split_seed": "What draws the parts; by default the seed, so that repeats vary the images too.",
    "data.on_bad_image": "What to do with an image that cannot be read: raise an error, or skip it (not of test).",
    "data.pixel_range": "The values of black and white in 16-bit or floating-point images; null: from the images.",
    "data.sampling": "How an epoch draws images: uniform (each once), or balanced (each class as often).",
    "data.storage": "Whether images are decoded once (memory) or for each batch (stream); auto: memory if half is "
    "enough.",
    "augment": "Random changes of training images, drawn again for each image in each epoch.",
    "augment.crop_scale": "The smallest and largest share of the image's area that a crop takes.",
    "augment.crop_ratio": "The smallest and largest width / height of a crop, before it is resized to a square.",
    "augment.flip": "Whether half of the images are mirrored.",
    "augment.rotation": "Up to how many degrees images are turned, to either side.",
    "augment.color_jitter": "By up to which share brightness, contrast and saturation change.",
    "augment.erasing": "The probability that a box of the image is erased.",
    "augment.mixup": "The strength alpha of mixup, which blends two images and their labels; 0: off.",
    "augment.cutmix": "The strength alpha of cutmix, which puts a box of one image into another; 0: off.",
    "optimizer": "The optimizer of phases that learn by gradient: the class that _target_ names, and its arguments.",
    "optimizer._target_": "The optimizer's class, of torch.optim or timm.optim.",
    "optimizer.lr": "The learning rate at the rate 1; it is not scaled by the batch size.",
    "optimizer.weight_decay": "How strongly weights are pulled to zero in each step.",
    "optimizer.momentum": "The share of the last step that is repeated.",
    "optimizer.nesterov": "Whether momentum looks ahead (Nesterov).",
    "scheduler": "How the learning rate changes during a phase: arguments of timm's create_scheduler_v2.",
    "scheduler.sched": "The form of the schedule: cosine, step, or none for a constant rate.",
    "scheduler.warmup_epochs": "Epochs in which the rate rises from warmup_lr to its full value.",
    "scheduler.warmup_lr": "The rate with which warm-up begins.",
    "scheduler.min_lr": "The rate at the end of a cosine.",
    "scheduler.decay_epochs": "Epochs between two steps of sched=step.",
    "scheduler.decay_rate": "What the rate is multiplied by at each step of sched=step.",
    "hardware": "Where and how the run computes.",
    "hardware.accelerator": "What computes: cpu or gpu; auto: a GPU where there is one.",
    "hardware.devices": "How many processes, one per GPU or CPU core; -1: all.",
    "hardware.nodes": "Machines of a run, each with hardware.devices processes; several: hydra/launcher=slurm.",
    "hardware.precision": "Of products in training: 32, bf16 or 16 bits; auto: bf16 on GPUs that have it.",
    "hardware.memory_format": "The order of the numbers of an image in memory.",
    "hardware.compile": "Whether the network is compiled by torch.compile: a minute at the start, faster steps.",
    "hardware.tune": "Whether a few steps are timed to choose memory_format, precision and compile, once a study.",
    "hardware.allow_bf16": "Whether tune may choose another precision than auto would.",
    "hardware.accumulate": "Batches whose gradients are added up for one step.",
    "hardware.clip": "The largest norm of a step's gradient; null: not limited.",
    "hardware.workers": "Processes that decode images where these are streamed; 0: threads of this one.",
    "hardware.threads": "Threads that torch uses; null: as many as it finds fit.",
    "features": "How the features of frozen layers are kept.",
    "features.dtype": "Their precision: float32, bfloat16 (half the size), or auto, as the layers put them out.",
    "features.storage": "Held in memory or in a mapped file; auto: mapped if they would fill half of the memory.",
    "logger": "Where curves are sent, in addition to metrics.csv.",
    "logger.wandb": "Whether Weights & Biases records the run.",
    "logger.project": "The project in W&B and Trackio.",
    "logger.entity": "The account or team in W&B; null: the account's own.",
    "logger.mode": "W&B online or offline; auto: online when a key is there.",
    "logger.tags": "Tags of the run in W&B and MLflow.",
    "logger.tensorboard": "Whether TensorBoard records the run, in the run's folder.",
    "logger.mlflow": "Whether MLflow records the run.",
    "logger.mlflow_uri": "Where MLflow records: sqlite:///FILE or a server; null: mlflow.db in output_dir.",
    "logger.trackio": "Whether Trackio records the run.",
    "logger.system": "Whether W&B and Trackio record use of processor, GPU and memory.",
    "logger.artifacts": "What W&B keeps as an artifact: model (the exported network, with what it comes from) or none.",
    "imports": "Python modules of your own, which define what a _target_ may name.",
    "study": "Runs of one study are compared, in output_dir/study; by default the experiment's name, else runs.",
    "seed": "What draws weights, order and augmentation; data.split_seed follows it.",
    "epochs": "Epochs of every phase that learns by gradient; a phase may name its own.",
    "learning_rate": "find: a range test (Smith 2017) of 100 steps proposes the rate that takes the place of "
    "optimizer.lr, once for all runs of a study with these settings; null: optimizer.lr as it is.",
    "label_smoothing": "The share of a label that is spread over all classes.",
    "class_weights": "balanced: each class counts as much in the loss, however few images it has.",
    "keep": "Which weights stay when a run is complete: best: the final ones; all: checkpoints too; none: no weights.",
    "patience": "A phase stops after so many epochs without a better validation score; null: never.",
    "select": "By which validation score the best epoch is chosen; of equal accuracies the lower loss counts.",
    "output_dir": "The folder of all studies.",
    "cache_dir": "The folder of features and timings that all runs share; null: nothing is cached.",
    "checkpoint_every": "Seconds between two checkpoints: what a crash can cost. It changes no result.",
    "measures": "What is observed besides accuracy, by name: classes of headstart.measures.",
    "figures": "What compare draws for the study's question, by name: classes of headstart.report.questions.",
    "preprocessing": "How images were prepared; the run fills it in, and a run that goes on from its weights compares.",
    "rerun": "Whether a run that is complete is run again.",
    "fail_fast": "Whether a sweep ends with the first job that fails; by default the others run.",
    "prune": "Whether a run ends early if its siblings in the study were better at that epoch: median or quartile "
    "(only the worst quarter); none: never.",
    "trial": "The number of the run in a search (hparams_search), from 0; the search fills it in.",
    "sweep": "With -m, the jobs as a list of lines such as 'strategy=finetune optimizer.lr=1e-3,1e-2': each line is a "
    "product of its own, and each is combined with what the command line sweeps.",
}

GROUPS = {
    "experiment": "A whole study: its question, its keys and its grid.",
    "hparams_search": "The space of a search: which keys Optuna chooses, and between which values.",
    "size": "How large an experiment is: as its paper asked it, or small.",
    "debug": "Short runs that look whether everything works.",
}

# What the schema and `headstart.config.ranges` do not say of values, in the order in which they are looked for.
VALUES = {
    "optimizer.lr": "a number above 0",
    "learning_rate": "find, or null",
    "optimizer.weight_decay": "a number, 0 or above",
    f"{PHASE}.statistics": "one of live, frozen",
    f"{PHASE}.rates": "a mapping from parts of the network to a number above 0, null, or {rate: r, decay: d}",
    f"{PHASE}.views": "a whole number, at least 1, or null",
    f"{PHASE}.epochs": "a whole number, at least 1, or null",
    f"{PHASE}.lr": "a number above 0, or null",
    f"{PHASE}.weight_decay": "a number, 0 or above, or null",
    f"{PHASE}.average": "a number above 0 and below 1, such as 0.998, or null",
    "data.fold": "from 0 to data.folds - 1, or null",
    "hardware.devices": "a whole number, at least 1, or -1",
}

# Values for examples, where none can be derived from the value of now; after a + stands what follows the key.
EXAMPLES = {
    "model.name": "resnet18",
    "model.weights": "none strategy=scratch",
    "model.args": "+.drop_rate=0.2",
    "strategy.name": "mine",
    "data.name": "flowers",
    "data.image_size": "96",
    "data.batch_size": "16",
    "data.train_fraction": "0.5 data.train_per_class=null",
    "data.n_train": "100 data.train_per_class=null",
    "data.n_test": "100",
    "data.group": "patient",
    "data.folds": "5 data.fold=0",
    "data.fold": "0 data.folds=5",
    "data.flip": "true",
    "data.pixel_range": "[0,4095]",
    "augment.crop_scale": "[0.5,1.0]",
    "augment.crop_ratio": "[0.9,1.1]",
    "augment.flip": "false",
    "augment.rotation": "10",
    "augment.color_jitter": "0.2",
    "augment.erasing": "0.25",
    "augment.mixup": "0.2",
    "augment.cutmix": "1.0",
    "learning_rate": "find strategy=finetune",
    "label_smoothing": "0.1",
    "hardware.allow_bf16": "true hardware.tune=true",
    "hardware.accelerator": "cpu",
    "hardware.precision": "32",
    "hardware.devices": "-1",
    "hardware.clip": "1.0",
    "hardware.threads": "1",
    "hardware.workers": "2",
    "logger.project": "birds",
    "logger.entity": "mylab",
    "logger.tags": "[first]",
    "imports": "[mylab.birds]",
    "study": "first",
    "seed": "1",
    "prune": "median",
    "trial": "0",
    "sweep": '\'["strategy=finetune optimizer.lr=1e-3,1e-2","head=knn"]\'',
    "data.split_seed": "0",
    "patience": "5",
    "output_dir": "runs",
    "cache_dir": "null",
    "optimizer._target_": "torch.optim.RMSprop",
    "scheduler.sched": "none",
    "scheduler.warmup_epochs": "2",
    "scheduler.min_lr": "0.00001",
    "scheduler.warmup_lr": "0.00001 scheduler.warmup_epochs=2",
    "optimizer.weight_decay": "0.05",
    f"{PHASE}.rates": "'{head:1,backbone:null}'",
    f"{PHASE}.views": "8",
    f"{PHASE}.augment": "false",
    f"{PHASE}.lr": "0.0001",
    f"{PHASE}.weight_decay": "0.05",
    f"{PHASE}.average": "0.998",
    f"{PHASE}.epochs": "5",
    f"{PHASE}.probe": "'${head.probe}'",
    f"{PHASE}.penalty": "+='{_target_:headstart.penalty.L2SP}'",
    f"{PHASE}.statistics": "frozen",
}


def find_general(key: str) -> str:
    """The key as the tables here have it: the name of a phase is `PHASE` in them."""
    parts = key.split(".")
    if parts[:2] == ["strategy", "phases"] and len(parts) > 2:
        return ".".join([PHASE, *parts[3:]])
    return key


def find_example(key: str) -> str | None:
    """An override that changes the key, for a shell; None if none is known here."""
    value = EXAMPLES.get(find_general(key))
    if value is None:
        return None
    return f"+{key}{value[1:]}" if value.startswith("+") else f"{key}={value}"


def find_meaning(key: str) -> str | None:
    """The meaning of a dotted key; None if it is not known here."""
    return MEANINGS.get(find_general(key))
