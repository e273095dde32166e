"""Why an answer stands where it does: what was measured, where, and how near that is to what was asked for."""

from registry.evidence import Evidence, speed_text
from registry.search import Found, Page


def explain(page: Page) -> list[str]:
    """One sentence about which learngene is favoured and why, then one for every learngene on the page."""
    if not page.found:
        return ["nothing answers this"]
    return [_favoured(page), *(f"{found.entry.ref}: {_why(found)}" for found in page.found)]


def _favoured(page: Page) -> str:
    measured = [found for found in page.found if found.evidence]
    if not measured:
        return "no evidence favours any of these: nothing was measured; run `zoo bench`"
    first, *others = page.found
    if not first.evidence:
        return "evidence did not order this answer"
    if not others or not others[0].evidence:
        return f"{first.entry.ref} is favoured: it alone has evidence ({_row(first.evidence[0])})"
    second = others[0]
    mine, theirs = first.evidence[0], second.evidence[0]
    same = mine.bench == theirs.bench
    care = "in the same bench" if same else "in different benches: compare with care"
    return f"{first.entry.ref} is favoured over {second.entry.ref}: {_row(mine)} against {_row(theirs)}, {care}"


def _why(found: Found) -> str:
    if not found.evidence:
        return "nothing was measured, so it comes last"
    first = found.evidence[0]
    if found.size is None:
        near = "its best"
    elif found.exact:
        near = "measured at this very size"
    else:
        near = f"{found.size} was not measured; {first.size} is the nearest by parameters"
    more = f", one of {len(found.evidence)} measurements" if len(found.evidence) > 1 else ""
    return f"{_row(first)} ({near}{more})"


def _row(row: Evidence) -> str:
    speed = speed_text(row.numbers)
    reached = f"speed-up {speed}" if speed else "scratch's long training not reached"
    score = f", {row.metric} {row.numbers[row.metric]:.4g}" if row.metric else ""
    scratch = f" (scratch {row.numbers['scratch']:.4g})" if "scratch" in row.numbers else ""
    return f"{reached}{score}{scratch} at {row.size} in {row.bench!r} as {row.start!r}"
