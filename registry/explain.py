"""Why an answer stands where it does: what was measured, where, and how near that is to what was asked for."""

from registry.columns import standing
from registry.entries import CHAMPION
from registry.evidence import SPEED_UP, Evidence, speed_text
from registry.search import Found, Page


def explain(page: Page) -> list[str]:
    """One sentence about which learngene is favoured and why, then one for every learngene on the page."""
    if not page.found:
        return ["nothing answers this"]
    return [_favoured(page), *(f"{found.entry.ref}: {_why(found)}" for found in page.found)]


def _favoured(page: Page) -> str:
    first, *others = page.found
    if page.page > 1:
        return f"page {page.page}: what evidence favours stands on page 1"
    if page.order_by in ("newest", "fill"):
        order = "the newest" if page.order_by == "newest" else "what fills the budget best"
        return f"{first.entry.ref} comes first ({order}); evidence did not order this answer"
    if not first.evidence:
        return "no evidence favours any of these: nothing was measured; run `zoo bench`"
    if not others or not others[0].evidence:
        return f"{first.entry.ref} is favoured: it alone has evidence ({_row(first.evidence[0])})"
    second = others[0]
    mine, theirs = first.evidence[0], second.evidence[0]
    care = "in the same bench" if mine.bench == theirs.bench else "in different benches: compare with care"
    rows = f"{_row(mine)} against {_row(theirs)}, {care}"
    what = page.metric if page.order_by == "metric" else SPEED_UP
    if mine.numbers.get(what or "") != theirs.numbers.get(what or ""):
        return f"{first.entry.ref} is favoured over {second.entry.ref}: {rows}"
    return f"{first.entry.ref} ties with {second.entry.ref} and comes first because {_untied(first, second)}: {rows}"


def _untied(first: Found, second: Found) -> str:
    """Why it is first, of two with the same number (the order of `Ranking.order`)."""
    mine, theirs = first.evidence[0], second.evidence[0]
    if mine.score != theirs.score:
        return "its score is better" if mine.metric == theirs.metric else "scores decide, though of different kinds"
    if standing(first.entry.aliases) != standing(second.entry.aliases):
        return "it is the champion" if CHAMPION in first.entry.aliases else "the other one is a candidate only"
    if (first.of_parameters, first.of_flops) != (second.of_parameters, second.of_flops):
        return "it fills more of the budget"
    return "it is newer"


def _why(found: Found) -> str:
    if not found.evidence:
        return "nothing was measured"
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
