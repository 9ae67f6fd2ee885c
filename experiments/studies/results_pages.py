"""The tables in README.md and experiments/results, made from the measured results committed there."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.commands import compare
from experiments.runs import run_folder
from experiments.studies import digits, estimator, templates
from experiments.studies.audit import calibration_page, cleaning, ranking
from experiments.studies.bench import page as bench_page
from experiments.studies.claims import report
from experiments.studies.figures import learned_first, noticing
from experiments.studies.recipe import page as recipe_page
from experiments.studies.recipe import real_size
from experiments.studies.templates import markdown
from experiments.terminal import UserError
from experiments.training import metrics
from experiments.training.metrics import percent

RESULTS = Path(__file__).parent.parent / "results" / "digits"
README = Path(__file__).parents[2] / "README.md"
INDEX = README.parent / "docs" / "index.md"


def _cells(noises: Iterable[str]) -> dict[str, str]:
    """Column heading -> the noise, which is also in the name of the result file; `make results` writes it."""
    return {digits.noise_name(noise): noise for noise in noises}


CELLS = _cells(digits.FIRST_NOISES)
MORE_CELLS = _cells(digits.MORE_NOISES)
OTHER_CELLS = _cells(digits.OTHER_NOISES)

# What published.json calls our methods and cells.
_PUBLISHED_METHODS = {
    "cross_entropy": "cross entropy",
    "mean_absolute_error": "MAE (1-p)",
    "generalized_cross_entropy": "GCE q=0.7",
    "phuber_cross_entropy": "PHuber-CE tau=10",
    "phuber_cross_entropy:tau=2": "PHuber-CE tau=2",
    f"{digits.SMALL_OGC},mode=published": "OGC-CE",
    f"{digits.SMALL_OGC}{digits.ON_GCE},mode=published": "OGC-GCE q=0.7",
}
# These were run without the norm clip, ours into files of their own.
_PUBLISHED_SHARPNESS = {
    "cross_entropy+sam": "CE with SAM rho=0.1",
    digits.SANER: "CE with SANER rho=0.1",
}
_PUBLISHED_MORE = {"symmetric_cross_entropy": "SCE alpha=0.1 beta=1", "dal": "DAL q 0.6 to 1.5"}
_PUBLISHED_CELLS = {
    "none": "sym0.0",
    "symmetric-0.2": "sym0.2",
    "symmetric-0.4": "sym0.4",
    "symmetric-0.6": "sym0.6",
    "pair-0.3": "pair0.3",
    "instance-0.4": "idn0.4",
}


def write() -> list[Path]:
    """Rewrites the tables from the result files; returns the files that hold them."""
    makers: dict[Path, Callable[[], str]] = {
        README: lambda: learned_first.with_claim(readme(README.read_text())),
        INDEX: lambda: learned_first.with_claim(INDEX.read_text()),
        RESULTS / "README.md": results_page,
        ranking.RESULTS / "README.md": ranking.page,
        report.RESULTS / "README.md": report.page,
        bench_page.RESULTS / "README.md": bench_page.page,
        recipe_page.PAGE: recipe_page.page,
        real_size.PAGE: real_size.page,
        calibration_page.PAGE: calibration_page.page,
        cleaning.RESULTS / "README.md": cleaning.page,
        estimator.RESULTS / "README.md": estimator.page,
    }
    pages = {path: _made(path, make) for path, make in makers.items()}
    for path, text in pages.items():
        run_folder.write_text(path, text)
    learned_first.draw(learned_first.read_curves(learned_first.CURVES), learned_first.PICTURE)
    calibration_page.draw(calibration_page.PICTURE)
    noticing.draw(noticing.PICTURE)
    real_size.draw(real_size.PICTURE)
    return [*pages, learned_first.PICTURE, calibration_page.PICTURE, noticing.PICTURE, real_size.PICTURE]


def _made(path: Path, make: Callable[[], str]) -> str:
    try:
        return make()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}: a result file that it is made from is not complete ({error!r}); `make results` "
            f"measures them anew"
        ) from error


def readme(text: str) -> str:
    """README.md with a new table between its markers."""
    start, end = "<!-- real size table -->\n", "<!-- end of real size table -->"
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise UserError(f"{README}: the markers {start.strip()} and {end} are missing")
    return before + start + real_size.accuracy_table(real_size.telling()) + end + after


def load() -> dict[str, dict[str, Any]]:
    """The measured results by file name."""
    return {name: _read(name) for name in CELLS.values()}


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    result = run_folder.read_json(path)
    if not isinstance(result, dict):
        raise UserError(f"{path}: expected results by name, got {type(result).__name__}")
    return result


def of_matrix(measured: dict[str, Any]) -> str:
    """Mean and standard deviation over seeds under each kind of noise, in percent; the best is bold."""
    shown = compare.accuracies(measured)
    rows = [["method", *map(digits.noise_name, shown)], ["---"] + ["---:"] * len(shown)]
    best = [max(float(np.mean(own)) for own in of_cell.values()) for of_cell in shown.values()]
    for method in next(iter(shown.values())):
        row = [f"`{method}`"]
        for of_cell, most in zip(shown.values(), best, strict=True):
            spread = metrics.spread(of_cell[method])
            text = f"{spread['mean']:.1f} ± {spread['sd']:.1f}"
            row.append(f"**{text}**" if spread["mean"] == most else text)
        rows.append(row)
    return markdown(rows)


def of_elr(measured: dict[str, dict[str, Any]]) -> str:
    """Early-learning regularization under each kind of noise, a row for each weight decay."""
    shown = {decay: compare.accuracies(result) for decay, result in measured.items()}
    first = next(iter(shown.values()))
    rows = [["weight decay", *map(digits.noise_name, first)], ["---"] + ["---:"] * len(first)]
    for decay, cells in shown.items():
        spreads = (metrics.spread(of_cell["elr"]) for of_cell in cells.values())
        rows.append([decay, *(f"{s['mean']:.1f} ± {s['sd']:.1f}" for s in spreads)])
    return markdown(rows)


def accuracies(
    results: dict[str, dict[str, Any]], methods: Iterable[str], cells: dict[str, str] = CELLS
) -> str:
    """Mean and standard deviation over seeds of each method in every cell, in percent."""
    rows = [["method", *cells], ["---"] + ["---:"] * len(cells)]
    for method in methods:
        spreads = (results[file]["methods"][method]["last_10_mean"] for file in cells.values())
        rows.append([f"`{method}`", *map(percent, spreads)])
    return markdown(rows)


def against_published(published: dict[str, Any]) -> str:
    """Our accuracy beside that of the papers' code, and whether it is level with it."""
    rows = [["noise", "method", "ours", "published code", "level from", "level"], ["---"] * 2 + ["---:"] * 4]
    baselines = {name: _PUBLISHED_METHODS[name] for name in digits.MORE_METHODS if name in _PUBLISHED_METHODS}
    for heading, file in MORE_CELLS.items():
        files = [("", _PUBLISHED_METHODS), ("sharpness-", _PUBLISHED_SHARPNESS), ("more-", _PUBLISHED_MORE)]
        for prefix, names in files if heading in CELLS else [("more-", baselines | _PUBLISHED_MORE)]:
            methods = _read(prefix + file)["methods"]
            for method, name in names.items():
                ours = methods[method]["last_10_mean"]
                mean, sd, _ = published["results"][_PUBLISHED_CELLS[file]][name]
                least = level_from(mean, sd, 3, 100 * ours["sd"], len(ours["per_seed"]))
                level = "yes" if 100 * ours["mean"] >= least else "no"
                rows.append(
                    [heading, f"`{method}`", percent(ours), f"{mean:.2f} ± {sd:.2f}", f"{least:.2f}", level]
                )
    return markdown(rows)


def second_gradients() -> str:
    """SGD, SAM and SANER on cross-entropy, and their differences paired by seed."""
    results = [_read(f"sharpness-{file}") for file in CELLS.values()]
    rows = [["cross-entropy with", *CELLS], ["---"] + ["---:"] * len(CELLS)]
    named = {"SGD": "cross_entropy", "SAM": "cross_entropy+sam", "SANER": digits.SANER}
    for label, method in named.items():
        rows.append([label, *(percent(result["methods"][method]["last_10_mean"]) for result in results)])
    for first, second in (("SAM", "SGD"), ("SANER", "SAM")):
        differences = [_difference(result, named[first], named[second]) for result in results]
        rows.append([f"{first} - {second}", *differences])
    return markdown(rows)


def against_fixed_thresholds(results: dict[str, dict[str, Any]]) -> str:
    """OGC less PHuber with each fixed tau, paired by seed, in points."""
    cells = {heading: file for heading, file in CELLS.items() if file != "none"}
    taus = {"10": "phuber_cross_entropy", **{tau: f"phuber_cross_entropy:tau={tau}" for tau in ("5", "2")}}
    rows = [["OGC less PHuber", *cells], ["---"] + ["---:"] * len(cells)]
    for label, ogc in (("OGC", digits.SMALL_OGC), ("OGC on GCE", digits.SMALL_OGC + digits.ON_GCE)):
        for tau, phuber in taus.items():
            differences = [_difference(results[file], ogc, phuber) for file in cells.values()]
            rows.append([f"{label} - tau = {tau}", *differences])
    return markdown(rows)


def modes() -> str:
    """The two modes of the search, under both optimizers and for both bases, and their difference."""
    cells = _cells(digits.MODE_NOISES)
    rows = [["optimizer, base", *cells], ["---"] + ["---:"] * len(cells)]
    for optimizer in ("sgd", "adamw"):
        results = [_read(f"modes-{optimizer}-{file}") for file in cells.values()]
        for base, flag in (("cross-entropy", ""), ("focal", ",base=focal")):
            default, published = digits.SMALL_OGC + flag, f"{digits.SMALL_OGC}{flag},mode=published"
            for mode, method in (("published", published), ("default", default)):
                spreads = [percent(result["methods"][method]["last_10_mean"]) for result in results]
                rows.append([f"{optimizer}, {base}, `{mode}`", *spreads])
            rows.append(
                [f"{optimizer}, {base}, difference", *(_difference(r, default, published) for r in results)]
            )
    return markdown(rows)


def _difference(result: dict[str, Any], first: str, second: str) -> str:
    mean, half = metrics.paired_difference(
        *(100 * np.asarray(result["methods"][name]["last_10_mean"]["per_seed"]) for name in (first, second))
    )
    return f"{mean:+.2f} ± {half:.2f}"


def dal_curves(results: Iterable[dict[str, Any]]) -> str:
    """The dynamics-aware loss with a q that grows along a cosine, less the published straight line."""
    rows = [["DAL", *OTHER_CELLS], ["---"] + ["---:"] * len(OTHER_CELLS)]
    rows.append(["cosine - linear", *(_difference(r, "dal:curve=cosine", "dal") for r in results)])
    return markdown(rows)


def regression() -> str:
    """Errors on clean test targets, by share of wrong training targets."""
    errors = run_folder.read_json(RESULTS.parent / "regression.json")["errors"]
    rows = [["method", *(f"{float(rate):.0%} wrong" for rate in errors)], ["---"] + ["---:"] * len(errors)]
    for name in next(iter(errors.values())):
        spreads = [of_rate[name] for of_rate in errors.values()]
        rows.append([name, *(f"{spread['mean']:.3f} ± {spread['sd']:.3f}" for spread in spreads)])
    return markdown(rows)


def against_pytorch(ours: dict[str, Any], check: dict[str, Any]) -> str:
    """Our accuracy beside that of the same protocol in plain PyTorch, both over many seeds."""
    rows = [["method", "ours", "PyTorch"], ["---", "---:", "---:"]]
    for method, accuracies in check["last_10_mean"].items():
        theirs = metrics.spread(np.asarray(accuracies))
        rows.append([f"`{method}`", percent(ours[method]["last_10_mean"]), percent(theirs)])
    return markdown(rows)


def level_from(mean: float, sd: float, n: int, our_sd: float, our_n: int) -> float:
    """The least accuracy that counts as level: two standard errors of the difference below `mean`."""
    return mean - 2 * math.sqrt(sd**2 / n + our_sd**2 / our_n)


def results_page() -> str:
    """The page beside the results: what they are, how they were made, and both tables."""
    results = load()
    any_result = next(iter(results.values()))
    seeds, provenance = any_result["seeds"], any_result["provenance"]
    measured = _read("matrix")
    published = _read("published")
    check = _read("pytorch_check")
    more = {file: _read(f"more-{file}") for file in MORE_CELLS.values()}
    others = {file: _read(f"others-{file}") for file in OTHER_CELLS.values()}
    other_methods = next(iter(others.values()))["methods"]
    more_seeds = {
        **_read("symmetric-0.4-30-seeds")["methods"],
        **{
            name: own
            for name, own in _read("sharpness-symmetric-0.4-30-seeds")["methods"].items()
            if "+" in name
        },
    }
    mode_seeds = _read("modes-sgd-none")["seeds"]
    regression_result = run_folder.read_json(RESULTS.parent / "regression.json")
    regression_seeds = regression_result["seeds"]
    return templates.render(
        "digits.md.jinja",
        any_result=any_result,
        seeds=seeds,
        provenance=provenance,
        matrix=of_matrix(measured),
        elr=of_elr({decay: _read(f"elr-{decay}") for decay in digits.ELR_DECAYS}),
        accuracies=accuracies(results, any_result["methods"]),
        more=accuracies(more, digits.MORE_METHODS, MORE_CELLS),
        others=accuracies(others, other_methods, OTHER_CELLS),
        dal_curves=dal_curves(others.values()),
        against_published=against_published(published),
        pytorch_seeds=len(check["seeds"]),
        against_pytorch=against_pytorch(more_seeds, check),
        fixed_thresholds=against_fixed_thresholds(results),
        second_gradients=second_gradients(),
        mode_seeds=mode_seeds,
        modes=modes(),
        regression_result=regression_result,
        regression_seeds=regression_seeds,
        regression=regression(),
    )
