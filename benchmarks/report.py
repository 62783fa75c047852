"""The results as text, printed while they are found."""

from __future__ import annotations

from results import Results, Row, flatness, scaling
from rich.console import Console

LINE = "{:>7} {:>10} {:>8} {:>12} {:>7}  {}"


class Printer:
    """Writes blocks of rows; on a terminal also what is being measured."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._status = self._console.status("")

    def _print(self, text: str = "") -> None:
        self.status("")
        self._console.print(text, markup=False)

    def status(self, text: str) -> None:
        """Show what is being measured; nothing for an empty text."""
        if text and self._console.is_terminal:
            self._status.update(text)
            self._status.start()
        else:
            self._status.stop()

    def head(self, results: Results) -> None:
        """Print what is compared."""
        about, torch = results.machine, results.machine["torch"]
        self._print(f"{about['cpu']}, {about['cores']} cores; kernels: {about['kernels']}")
        against = f"PyTorch {torch}" if torch else "nobody: no torch here (name an interpreter that has it: --python)"
        self._print(f"batchbrew {about['batchbrew']} against {against}")

    def block(self, results: Results, net: str, ranks: int, threads: int) -> None:
        """Print the head of a block."""
        peak = results.peak.get(ranks * threads)
        name = f"{ranks} ranks x {threads} thread" if ranks > 1 else f"{threads} thread{'s' if threads > 1 else ''}"
        ceiling = f", FMA peak {peak / 1e9:.0f} GFLOP/s" if peak else ""
        self._print()
        self._print(f"{net}, {name}{ceiling}")
        self._print(LINE.format("batch", "images/s", "of peak", "PyTorch best", "ratio", "with").rstrip())

    def row(self, results: Results, row: Row) -> None:
        """Print one row, and why something is missing."""
        ceiling = results.ceiling(row.net, row.ranks * row.threads)
        share = f"{100 * row.ours / ceiling:.0f} %" if row.ours and ceiling else ""
        peer, how = (f"{row.best[1]:,.0f}", row.best[0]) if row.best else ("", "")
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        ours = f"{row.ours:,.0f}" if row.ours else "-"
        self._print(LINE.format(row.batch, ours, share, peer, ratio, how).rstrip())
        for reason, names in grouped(row.left_out).items():
            self._print(f"        left out: {'; '.join(names)}: {reason}")

    def memory(self, net: str, found: dict[int, int]) -> None:
        """Print the peak memory of fresh processes."""
        sizes = ", ".join(f"batch {batch}: {size / 1e6:,.0f} MB" for batch, size in found.items())
        few, many = (found.get(batch) for batch in (min(found, default=0), max(found, default=0)))
        ratio = f", ratio {many / few:.2f}" if few and many and len(found) > 1 else ""
        self._print(f"{net}, peak memory of a process: {sizes or 'not measured'}{ratio}")

    def summary(self, results: Results) -> None:
        """Print the ratios over all batches."""
        self._print()
        self._print(
            "over all batches: images/s against PyTorch's best; share of the FMA peak; slowest / fastest from 8 on"
        )
        for net, ranks, threads in results.blocks():
            rows = results.block(net, ranks, threads)
            name = f"{ranks} ranks" if ranks > 1 else f"{threads} thread{'s' if threads > 1 else ''}"
            parts = []
            ratios = [row.ratio for row in rows if row.ratio]
            if ratios:
                parts.append(f"ratio {min(ratios):.2f} to {max(ratios):.2f}")
            ceiling = results.ceiling(net, ranks * threads)
            shares = [row.ours / ceiling for row in rows if row.ours and ceiling]
            if shares:
                parts.append(f"of peak {100 * min(shares):.0f} % to {100 * max(shares):.0f} %")
            flat = flatness(rows)
            if flat:
                parts.append(f"flat {flat:.2f}")
            if ranks > 1:
                grown = scaling(results, net, ranks)
                parts += [f"{ranks} ranks / 1 rank at {b}: {x:.2f}" for b, x in grown.items() if b == 100]
            self._print(f"  {net}, {name}: {'; '.join(parts)}")


def grouped(reasons: dict[str, str]) -> dict[str, list[str]]:
    """Return the names behind each reason.

    >>> grouped({"a": "x", "b": "y", "c": "x"})
    {'x': ['a', 'c'], 'y': ['b']}
    """
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found
