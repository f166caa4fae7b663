"""The tables of the group `search`, each declared beside its glue.

python -m experiments.report --fill search/synthetic --list
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from experiments.report.sweep import Table
from experiments.search import (
    alphax,
    contest,
    control,
    nasbench201,
    partition,
    plain_cnn,
    regions,
    samplers,
    synthetic,
    weight_transfer,
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        **alphax.TABLES,
        **contest.TABLES,
        **control.TABLES,
        **nasbench201.TABLES,
        **partition.TABLES,
        **plain_cnn.TABLES,
        **regions.TABLES,
        **samplers.TABLES,
        **synthetic.TABLES,
        **weight_transfer.TABLES,
    }
)
