"""The two rules of the architecture, read off a file's syntax tree.

1. Arrows point one way: experiments -> (placement, enas, mpl, search, parallel) -> nco, and
   placement -> `parallel.jaxpr`. Inside experiments the wings are layers too (`WINGS`), and no two
   files import each other, directly or in a circle.
2. A library room does no I/O and keeps no state of its own, save the modules whose purpose is to
   reach outside.

Each check takes a parsed module and yields what breaks it; `test_architecture.py` runs them over
the repository, and over a small offender each, so that a check that finds nothing is noticed.
"""

import ast
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

LIBRARY_ROOMS = ("nco", "placement", "enas", "mpl", "search", "parallel")
ROOMS = (*LIBRARY_ROOMS, "experiments")
TOP = (*ROOMS, "tests")

# Which modules of other rooms a room may import: these, and what lies below them.
ARROWS = {
    "nco": (),
    "placement": ("nco", "parallel.jaxpr"),
    "enas": ("nco",),
    "mpl": ("nco",),
    "search": ("nco",),
    "parallel": ("nco",),
    "experiments": LIBRARY_ROOMS,
    "tests": ROOMS,
}

# What the wings of experiments may import: of experiments, and of the library rooms. A folder that
# is none of these is the glue of a group: it may import itself, its own library room and nco, and
# what `GLUE` says; two groups never import each other, save by a line in `PAIRS` with its reason.
WINGS = {
    "data": ("experiments.runner.checks", "experiments.runner.command"),  # of its users
    "runner": ("search.interface", "search.evaluate", "search.ray_cluster", "parallel"),
    "report": ("experiments.runner", "search.interface"),
    "bench": ("experiments.runner", "experiments.report", "parallel"),
    "configs": (
        "experiments.runner.checks",
        "experiments.runner.config",
        "experiments.runner.evaluators",
    ),
}
GLUE = (
    "search.interface",  # what any search is made of: trials, outcomes, measurements
    "search.listed",  # a measurement is a search of a list
    "experiments.runner",
    "experiments.report",
    "experiments.data",
    "experiments.bench.kernel",
    "parallel.data_parallel",  # how any batch lies on several devices
    "nco",
)
# Light modules of a group that its configs may read: they import no network, and so no jax.
OF_CONFIGS = ("config", "methods", "photograph_config", "tree")
PAIRS: dict[str, tuple[str, ...]] = {
    "enas": ("mpl.models.convolution",),  # gradients that are fast on a CPU, given as `conv=`
}
MOST_MODULES = 25  # in a folder

# These reach outside by design: devices and a clock; the Scotch programs; processes and Ray; a
# folder that SMAC insists on.
REACH_OUTSIDE = (
    "placement/executor.py",
    "placement/baselines.py",
    "search/evaluate.py",
    "search/ray_cluster.py",
    "search/smac.py",
)

# What a library room may import as a whole. Anything else is optional or heavy, and is imported
# by the function that uses it.
NEEDED = ("chex", "flax", "jax", "jaxtyping", "numpy", "optax")

# Modules whose purpose is files, processes, the network, the command line, the clock, or state
# that is shared by the whole process (`random`).
OUTSIDE_MODULES = (
    "absl", "argparse", "asyncio", "builtins", "concurrent", "ctypes", "datetime", "fcntl",
    "fileinput", "getpass", "glob", "gzip", "http", "io", "jax.experimental.io_callback",
    "jax.experimental.serialize_executable", "logging", "mmap", "ml_collections",
    "multiprocessing", "orbax", "os", "pathlib", "pickle", "platform", "queue", "random", "ray",
    "readline", "requests", "selectors", "shelve", "shutil", "signal", "site", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tarfile", "tempfile", "tensorboardX",
    "tensorflow", "tensorflow_datasets", "threading", "time", "tqdm", "urllib", "urllib3",
    "zipfile",
)  # fmt: skip

OUTSIDE_FUNCTIONS = ("breakpoint", "eval", "exec", "input", "print", "__import__")

# Ends of dotted names that read, write, print, call the host, or set what the process shares.
OUTSIDE_CALLS = (
    "config.update", "debug.breakpoint", "debug.callback", "debug.print",
    "distributed.initialize", "fromfile", "genfromtxt", "imsave", "io_callback", "jnp.load",
    "jnp.save", "jnp.savez", "loadtxt", "np.load", "np.memmap", "np.save", "np.savez",
    "np.savez_compressed", "numpy.load", "numpy.save", "open", "open_memmap",
    "profiler.start_trace", "pure_callback", "read_bytes", "read_csv", "read_text", "savefig",
    "savetxt", "to_csv", "tofile", "write_bytes", "write_text",
)  # fmt: skip

# `np.random.NAME` other than these draws from the one generator of the process.
LOCAL_RANDOM = ("BitGenerator", "Generator", "PCG64", "Philox", "SeedSequence", "default_rng")

MUTABLE_MAKERS = (
    "bytearray", "Counter", "OrderedDict", "count", "defaultdict", "deque", "dict", "list",
    "set",
)  # fmt: skip
ARRAY_MAKERS = ("arange", "array", "asarray", "empty", "full", "linspace", "ones", "zeros")

# A cache on a function is state too: it holds arrays, and answers for them, between calls.
CACHES = ("cache", "functools.cache", "functools.lru_cache", "lru_cache")

NAMELESS_MODULES = ("common", "helper", "helpers", "misc", "util", "utils")


class Breach(NamedTuple):
    """One place that breaks a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class Module(NamedTuple):
    """A parsed file: its path from the repository's root, with slashes, and its tree."""

    path: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return PurePosixPath(self.path).parts[0]

    @property
    def package(self) -> tuple[str, ...]:
        return PurePosixPath(self.path).parts[:-1]


def parse(path: str, source: str) -> Module:
    """Parse the source of one file."""
    return Module(path, ast.parse(source, filename=path))


def imported(module: Module, node: ast.AST) -> Iterator[str]:
    """Full names of the modules that one node imports, a relative import resolved.

    `from a import b` yields `a.b`: whether b is a module or a name in one, the arrow is the same.
    """
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = module.package[: len(module.package) - node.level + 1] if node.level else ()
        base += tuple(node.module.split(".")) if node.module else ()
        yield from (".".join((*base, alias.name)) for alias in node.names)
    elif (
        isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] in ("import_module", "__import__")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        yield node.args[0].value


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of attributes; a call or subscript inside the chain counts as `?`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def under(name: str, roots: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of `roots` or lies below one."""
    return any(name == root or name.startswith(root + ".") for root in roots)


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: none inside a function, all else."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            todo += [*node.decorator_list, *arguments.defaults]
            todo += [default for default in arguments.kw_defaults if default is not None]
        elif isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            todo += node.orelse
        elif not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)


def wrong_arrows(module: Module) -> Iterator[Breach]:
    """Imports of another room that the architecture does not allow."""
    for node in ast.walk(module.tree):
        for name in imported(module, node):
            if not under(name, TOP) or under(name, (module.room,)):
                continue
            if not under(name, ARROWS[module.room]):
                yield Breach(module.path, node.lineno, f"{module.room} imports {name}")


def wrong_wings(module: Module) -> Iterator[Breach]:
    """Imports inside experiments, and from it of library rooms, that the wings do not allow."""
    parts = PurePosixPath(module.path).parts
    if parts[0] != "experiments" or len(parts) < 3:  # the command lines at the top compose all
        return
    wing = parts[1]
    allowed = (f"experiments.{wing}", *WINGS.get(wing, (*GLUE, wing, *PAIRS.get(wing, ()))))
    if wing == "configs" and len(parts) > 3:
        allowed += tuple(f"experiments.{parts[2]}.{light}" for light in OF_CONFIGS)
    for node in ast.walk(module.tree):
        for name in imported(module, node):
            if under(name, ROOMS) and not under(name, allowed):
                yield Breach(module.path, node.lineno, f"experiments/{wing} imports {name}")
        if isinstance(node, ast.ImportFrom) and node.module == "experiments":
            for alias in node.names:
                if alias.name in LIBRARY_ROOMS and not alias.asname:
                    what = f"`from experiments import {alias.name}` hides the room of that name"
                    yield Breach(module.path, node.lineno, what)


def circles(modules: Sequence[Module]) -> list[list[str]]:
    """Files that import each other in a circle, imports inside functions counted."""
    paths = {module.path for module in modules}
    arrows = {
        module.path: sorted(
            {
                target
                for node in ast.walk(module.tree)
                for name in imported(module, node)
                if (target := file_of(name, paths)) not in (None, module.path)
            }
        )
        for module in modules
    }
    found, done = list[list[str]](), set[str]()
    for start in sorted(arrows):
        trail, todo = list[str](), [(start, 0)]
        while todo:
            path, depth = todo.pop()
            del trail[depth:]
            if path in trail:
                found.append([*trail[trail.index(path) :], path])
                continue
            if path in done:
                continue
            trail.append(path)
            unseen = [target for target in arrows[path] if target not in done]
            if not unseen:
                done.add(path)
            todo += [(target, depth + 1) for target in unseen]
        done.add(start)
    return found


def file_of(name: str, paths: Collection[str]) -> str | None:
    """The file that holds a dotted name: the module itself, or the one that it is a name in."""
    whole = name.replace(".", "/")
    within = whole.rpartition("/")[0]
    candidates = (f"{whole}.py", f"{whole}/__init__.py", f"{within}.py", f"{within}/__init__.py")
    return next((path for path in candidates if path in paths), None)


def borrowed(modules: Sequence[Module]) -> Iterator[Breach]:
    """Names that are taken from a module which only imported them; packages may hand names on."""
    by_path = {module.path: module for module in modules}
    own = {path: defined(module.tree) for path, module in by_path.items()}
    for module in modules:
        aliases: dict[str, str] = {}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                for name, alias in zip(imported(module, node), node.names, strict=True):
                    path = file_of(name, by_path)
                    if path is None or path.endswith("__init__.py"):
                        continue
                    if path[:-3].replace("/", ".") == name:
                        aliases[alias.asname or alias.name] = path
                    elif alias.name not in own[path] and alias.name != "*":
                        yield Breach(module.path, node.lineno, f"takes {alias.name} from {path}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                path = aliases.get(node.value.id)
                if path is not None and node.attr in borrowed_by(by_path[path].tree):
                    yield Breach(module.path, node.lineno, f"reaches {node.attr} through {path}")


def defined(tree: ast.Module) -> set[str]:
    """Names that a module makes itself, at its top level."""
    names: set[str] = set()
    for node in at_import(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def borrowed_by(tree: ast.Module) -> set[str]:
    """Names that a module only imports."""
    names = {
        (alias.asname or alias.name).split(".")[0]
        for node in at_import(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return names - defined(tree)


def heavy_imports(module: Module) -> Iterator[Breach]:
    """Packages that a library room imports as a whole, though they are not among its needs."""
    for node in at_import(module.tree):
        for name in imported(module, node):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in (*NEEDED, *TOP):
                yield Breach(module.path, node.lineno, f"imports {top} outside a function")


def outside(module: Module) -> Iterator[Breach]:
    """Files, processes, network, command line, clock, printing, and settings of the process."""
    for node in ast.walk(module.tree):
        for name in imported(module, node):
            if under(name, OUTSIDE_MODULES):
                yield Breach(module.path, node.lineno, f"imports {name}")
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in OUTSIDE_FUNCTIONS or ends(name, OUTSIDE_CALLS):
                yield Breach(module.path, node.lineno, f"calls {name}")
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            if ends(name.rpartition(".")[0], ("np.random", "numpy.random")) and (
                node.attr not in LOCAL_RANDOM
            ):
                yield Breach(module.path, node.lineno, f"uses {name}: pass a Generator")


def ends(name: str, tails: tuple[str, ...]) -> bool:
    """Whether a dotted name ends with one of `tails`, whole parts only."""
    return any(name == tail or name.endswith("." + tail) for tail in tails)


def state(module: Module) -> Iterator[Breach]:
    """State that outlives a call: `global`, and mutable or device values made at import."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield Breach(module.path, node.lineno, f"global {', '.join(node.names)}")
        for decorator in getattr(node, "decorator_list", ()):
            name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if name in CACHES:
                yield Breach(module.path, decorator.lineno, f"{name} keeps what it has seen")
    for node in at_import(module.tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if all(dotted(target) == "__all__" for target in targets) or not mutable(node.value):
                continue
            yield Breach(module.path, node.lineno, "a mutable value at module or class level")
        if isinstance(node, ast.Call) and under(
            dotted(node.func), ("jnp", "jax.numpy", "jax.random", "jax.devices", "jax.device_put")
        ):
            what = f"{dotted(node.func)} at import starts a device"
            yield Breach(module.path, node.lineno, what)


def mutable(value: ast.AST) -> bool:
    """Whether an expression makes a value that can change later."""
    if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    if isinstance(value, ast.Call):
        name = dotted(value.func)
        last = name.split(".")[-1]
        return last in MUTABLE_MAKERS or (under(name, ("np", "numpy")) and last in ARRAY_MAKERS)
    return False


def undocumented(module: Module) -> Iterator[Breach]:
    """A module, or a public function or class of it, without a docstring."""
    if ast.get_docstring(module.tree) is None:
        yield Breach(module.path, 1, "the module has no docstring")
    for node in module.tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ):
            yield Breach(module.path, node.lineno, f"{node.name} has no docstring")


def nameless(path: str) -> bool:
    """Whether a module's or package's name says nothing of what it holds."""
    return any(part in NAMELESS_MODULES for part in PurePosixPath(path).with_suffix("").parts)
