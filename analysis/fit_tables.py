"""Fitted constants, critical batches and best batches as tables."""

from __future__ import annotations

from collections.abc import Iterator

from batchbrew.analysis import predict
from batchbrew.analysis.findings import Findings
from batchbrew.analysis.intervals import Interval
from batchbrew.analysis.tables import Table, Value, View, table
from batchbrew.analysis.theory import best
from batchbrew.analysis.theory.statistics import critical_batches
from batchbrew.analysis.wording import interval, number, percent

Constant = tuple[str, str, float, str, Interval | None, str]
"""Symbol, subject (learning-rate rule, batch...), value, unit, interval, meaning."""

COLUMNS = ("symbol", "of", "value", "unit", "low", "high", "meaning")


def constants(findings: Findings) -> list[Constant]:
    """Return every fitted constant with its interval."""
    return [*_calibrated(findings), *_statistical(findings), *_serial(findings)]


def constants_table(findings: Findings) -> Table:
    """Return the constants as a tidy table."""
    rows: list[dict[str, Value]] = [
        {
            "symbol": symbol,
            "of": of,
            "value": value,
            "unit": unit,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "meaning": meaning,
        }
        for symbol, of, value, unit, found, meaning in constants(findings)
    ]
    return table("fits", COLUMNS, rows)


def constants_view(findings: Findings) -> View:
    """Return the constants for reading."""
    return View(
        caption="Fitted constants with 95 % bootstrap intervals.",
        columns=("constant", "of", "value", "95 % interval", "unit", "meaning"),
        rows=tuple(
            (symbol, of, number(value), interval(found) or "–", unit, meaning)
            for symbol, of, value, unit, found, meaning in constants(findings)
        ),
        numeric=(False, False, True, True, False, False),
    )


def _calibrated(findings: Findings) -> Iterator[Constant]:
    fit, comm = findings.compute, findings.allreduce
    if fit is not None:
        error = f"; relative error of the fit {percent(fit.error)}"
        yield "a", "one node", fit.a, "s", fit.a_interval, f"fixed seconds of a step{error}"
        yield "c", "one node", fit.c, "s", fit.c_interval, "seconds a sample"
        yield (
            "b_half",
            "one node",
            fit.b_half,
            "samples",
            fit.b_half_interval,
            "local batch at half of the peak rate, a/c",
        )
    if comm is not None:
        of = f"allreduce, {comm.algorithm.replace('_', ' ')}"
        doubt = "" if comm.separable else "; latency and bandwidth cannot be told apart by these points"
        yield (
            "alpha",
            of,
            comm.alpha,
            "s",
            comm.alpha_interval,
            f"seconds a message; fit error {percent(comm.error)}{doubt}",
        )
        yield "beta", of, comm.beta, "s/B", comm.beta_interval, "seconds a byte"


def _statistical(findings: Findings) -> Iterator[Constant]:
    for (rule, strategy), fit in findings.hyperbolas.items():
        of = f"lr {rule}, {strategy}"
        doubt = "; beyond the batches measured" if fit.at_edge else ""
        kept = f" ({fit.censored} of {fit.runs} runs censored)" if fit.censored else ""
        yield "S_min", of, fit.s_min, "updates", fit.s_min_interval, f"fewest updates, at endless batch{kept}"
        yield "E_min", of, fit.e_min, "samples", fit.e_min_interval, "fewest samples, at the smallest batch"
        yield "B_crit", of, fit.b_crit, "samples", fit.b_crit_interval, f"critical batch E_min/S_min{doubt}"


def _serial(findings: Findings) -> Iterator[Constant]:
    for key, fit in findings.amdahl.items():
        slower = ": slower on more nodes, which the law cannot show" if fit.serial_fraction >= 1 else ""
        meaning = f"serial fraction by Amdahl's law{slower}"
        yield "f", findings.labels[key], fit.serial_fraction, "", fit.interval, meaning


CRITICAL = (
    ("hyperbola", "E_min/S_min of the fitted hyperbola: updates and samples are both twice their minimum"),
    ("noise_scale", "gradient noise scale tr(Sigma)/|G|²: not recorded by these runs"),
    ("twenty_percent", "samples to target exceed linear scaling from the smallest batch by 20 %"),
    ("perfect_scaling_end", "elasticity falls to 0.9: the end of perfect scaling"),
    ("sfo", "fewest gradient evaluations, from S = A B/(B − D): 2 D"),
)


def critical_table(findings: Findings) -> Table:
    """Return the five definitions of the critical batch for every learning-rate rule."""
    rows: list[dict[str, Value]] = []
    for (rule, strategy), fit in findings.hyperbolas.items():
        smallest = min(g.batch for g in findings.groups if (g.lr_rule, g.strategy) == (rule, strategy) and g.finished)
        found = critical_batches(fit.b_crit, smallest, None, fit.sfo_c2)
        rows += [
            {"definition": name, "lr_rule": rule, "strategy": strategy, "batch": getattr(found, name), "meaning": text}
            for name, text in CRITICAL
        ]
    return table("critical_batches", ("definition", "lr_rule", "strategy", "batch", "meaning"), rows)


def critical_view(findings: Findings) -> View:
    """Return the critical batches for reading."""
    rows = critical_table(findings).records()
    return View(
        caption="What 'critical batch' means: five definitions from the same runs, in samples.",
        columns=("definition", "lr rule", "batch", "meaning"),
        rows=tuple(
            (
                str(r["definition"]).replace("_", " "),
                str(r["lr_rule"]),
                number(r["batch"]) if isinstance(r["batch"], float) else "not measured",
                str(r["meaning"]),
            )
            for r in rows
        ),
        numeric=(False, False, True, False),
    )


def best_table(findings: Findings) -> Table:
    """Return the batch and time that the model holds best on each node count, by the closed form."""
    compute, rows = findings.compute, list[dict[str, Value]]()
    for (rule, strategy), fit in findings.hyperbolas.items():
        if compute is None or compute.c == 0 or fit.at_edge:
            continue
        for nodes in sorted({g.nodes for g in findings.groups}):
            overhead = compute.a + predict.comm_seconds(findings, nodes)
            batch = float(best.best_batch(nodes, fit.b_crit, overhead, compute.c))
            rows.append(
                {
                    "lr_rule": rule,
                    "strategy": strategy,
                    "nodes": nodes,
                    "best_batch": batch,
                    "seconds_to_target": float(best.best_time(nodes, fit.s_min, fit.b_crit, overhead, compute.c)),
                    "speedup": float(best.best_speedup(nodes, fit.b_crit, compute.a, overhead, compute.c)),
                }
            )
    return table("best_batches", ("lr_rule", "strategy", "nodes", "best_batch", "seconds_to_target", "speedup"), rows)


def best_view(findings: Findings) -> View:
    """Return the best batches for reading."""
    rows = best_table(findings).records()
    return View(
        caption="Best global batch on each number of nodes by the calibrated model, "
        "B* = sqrt(B_crit (a + T_comm) p / c), "
        "with its time to target and its speedup over the best on one node.",
        columns=("nodes", "lr rule", "best batch", "to target [s]", "speedup"),
        rows=tuple(
            (
                str(r["nodes"]),
                str(r["lr_rule"]),
                *(number(_float(r[k])) for k in ("best_batch", "seconds_to_target", "speedup")),
            )
            for r in rows
        ),
        numeric=(True, False, True, True, True),
    )


def _float(value: Value) -> float | None:
    return value if isinstance(value, float) else None
