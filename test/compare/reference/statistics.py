"""Expected values of src/compare/statistics, computed by scipy and numpy. Prints statistics.json.

    python test/compare/reference/statistics.py > test/compare/reference/statistics.json
"""

import json
import math

import numpy as np
from scipy import optimize, special, stats


def beta_inc():
    cases = [(x, a, b) for x in (1e-6, 0.01, 0.3, 0.5, 0.99) for a in (0.5, 3, 700.5) for b in (0.5, 50, 9000)]
    cases += [(0.01, 10000.5, 990000.5), (0.0099, 10000.5, 990000.5), (0.5, 1e6, 1e6 + 500)]
    return [{"x": x, "a": a, "b": b, "value": float(special.betainc(a, b, x))} for x, a, b in cases]


def ln_beta():
    cases = [(0.5, 0.5), (0.5, 50), (3, 1e6), (1000.5, 99000.5), (15.9, 16.1), (1e7, 0.5)]
    return [{"a": a, "b": b, "value": float(special.betaln(a, b))} for a, b in cases]


def normal():
    return [{"p": p, "value": float(stats.norm.ppf(p))} for p in (1e-12, 1e-4, 0.02, 0.3, 0.5, 0.975, 0.999999)]


def upper_rank():
    def rank(n, p, c):
        # ppf is the smallest k with P(Bin <= k) >= c, and r - 1 = k.
        k = int(stats.binom.ppf(c, n, p))
        return k + 1 if k + 1 <= n else None

    cases = [(298, 0.99, 0.95), (299, 0.99, 0.95), (1000, 0.99, 0.95), (2994, 0.999, 0.95), (2995, 0.999, 0.95),
             (50, 0.5, 0.99), (100000, 0.9, 0.95), (7, 0.5, 0.95)]
    return [{"n": n, "p": p, "confidence": c, "rank": rank(n, p, c)} for n, p, c in cases]


def early_stopping():
    def minimal(t, p, c):
        h = 1
        step = 4096
        # binom.cdf falls with h: gallop, then single steps.
        while step >= 1:
            while stats.binom.cdf(t, h + step - 1 + t, 1 - p) > 1 - c:
                h += step
            step //= 2
        return h

    cases = [(t, p) for p in (0.5, 0.9, 0.95, 0.99, 0.999) for t in (0, 1, 2, 10)]
    return [{"over": t, "percentile": p, "within": minimal(t, p, 0.99)} for t, p in cases]


def clopper_pearson():
    out = []
    for k, n in ((0, 2995), (1, 50), (5, 200), (200, 200), (37, 10000)):
        interval = stats.binomtest(k, n).proportion_ci(confidence_level=0.95, method="exact")
        upper = 1.0 if k == n else float(stats.beta.ppf(0.95, k + 1, n - k))
        out.append({"events": k, "n": n, "lower": float(interval.low), "upper": float(interval.high), "oneSided": upper})
    return out


def ln_mixture(k, n, p, a, b):
    return special.betaln(a + k, b + n - k) - special.betaln(a, b) - special.xlogy(k, p) - special.xlog1py(n - k, -p)


def rate_sequence():
    out = []
    for k, n, alpha, a, b, p0 in (
        (0, 100, 0.05, 0.5, 50, 0.01), (0, 6000, 0.01, 0.5, 500, 0.001), (25, 5000, 0.001, 0.5, 500, 0.001),
        (60, 100, 0.05, 1, 1, 0.5), (100, 100, 0.05, 1, 1, 0.5), (10000, 1000000, 0.05, 0.5, 50, 0.01),
    ):
        def excess(p, k=k, n=n, a=a, b=b, alpha=alpha):
            return ln_mixture(k, n, p, a, b) + math.log(alpha)

        mean = k / n
        lower = 0.0 if k == 0 else optimize.brentq(excess, 1e-300, mean, xtol=1e-16, rtol=1e-14)
        upper = 1.0 if k == n else optimize.brentq(excess, max(mean, 1e-300), 1 - 1e-15, xtol=1e-16, rtol=1e-14)
        e = ln_mixture(k, n, p0, a, b) + stats.beta.logsf(p0, a + k, b + n - k) - stats.beta.logsf(p0, a, b)
        out.append({"events": k, "n": n, "alpha": alpha, "a": a, "b": b, "p0": p0,
                    "lower": float(lower), "upper": float(upper), "lnE": float(e)})
    return out


def quantile_ranks():
    out = []
    for n, p, alpha in ((500, 0.99, 0.05), (1000, 0.99, 0.05), (10000, 0.99, 0.001), (2000, 0.5, 0.05), (40, 0.5, 0.01)):
        weight = 0.5 / min(p, 1 - p)
        k = np.arange(n + 1)
        refuted = ln_mixture(k, n, p, p * weight, (1 - p) * weight) >= -math.log(alpha)
        above = k[refuted & (k > n * p)]
        below = k[refuted & (k < n * p)]
        out.append({"n": n, "p": p, "alpha": alpha,
                    "lower": int(below.max()) + 1 if below.size else None,
                    "upper": int(above.min()) if above.size else None})
    return out


def jitter():
    rng = np.random.default_rng(1)
    x = np.round(rng.gamma(2, 0.001, 1000), 6)
    s = np.sort(x)
    d = np.sort(np.abs(np.diff(x)))

    def rule(v, p):
        return float(v[max(len(v) - 1 - math.floor((1 - p) * len(v) + 1e-9), 0)])

    c = np.sort(np.abs(np.diff(np.cumsum(0.01 + x)) - 0.012))
    return {"seconds": x.tolist(), "pdvP99Seconds": rule(s, 0.99) - float(s[0]), "ipdvP99Seconds": rule(d, 0.99),
            "iqrSeconds": rule(s, 0.75) - rule(s, 0.25), "peakToPeakSeconds": float(s[-1] - s[0]),
            "periodSeconds": 0.012, "completionP99Seconds": rule(c, 0.99), "completionMaxSeconds": float(c[-1])}


def ranks():
    x, y = [1, 2, 3, 4, 5, 6], [2, 1, 3, 3, 6, 5]
    return {"x": x, "y": y, "tau": float(stats.kendalltau(x, y).statistic)}


def mann_whitney():
    rng = np.random.default_rng(2)
    x = np.round(rng.normal(1.1, 0.2, 40), 2)
    y = np.round(rng.normal(1.0, 0.2, 35), 2)
    test = stats.mannwhitneyu(x, y, method="asymptotic")
    shifts = np.sort(np.subtract.outer(x, y).ravel())
    n, m = len(x), len(y)
    c = math.floor(n * m / 2 - stats.norm.ppf(0.975) * math.sqrt(n * m * (n + m + 1) / 12))
    return {"x": x.tolist(), "y": y.tolist(), "u": float(test.statistic), "pValue": float(test.pvalue),
            "shift": float(np.median(shifts)), "shiftLower": float(shifts[c - 1]), "shiftUpper": float(shifts[n * m - c])}


def mcnemar():
    return [{"first": a, "second": b, "pValue": float(stats.binomtest(min(a, b), a + b, 0.5).pvalue)}
            for a, b in ((0, 6), (3, 9), (10, 10), (1, 30))]


def build_share():
    rng = np.random.default_rng(3)
    builds = [np.round(rng.normal(rng.normal(10, 0.5), 0.3, 20), 3) for _ in range(6)]
    f = stats.f_oneway(*builds).statistic
    within = float(np.mean([np.var(b, ddof=1) for b in builds]))
    between = max(0.0, (f - 1) * within / 20)
    return {"builds": [b.tolist() for b in builds], "between": between, "within": within, "icc": between / (between + within)}


def bootstrap():
    rng = np.random.default_rng(4)
    control = np.round(rng.lognormal(0, 0.3, 400), 4)
    candidate = np.round(rng.lognormal(0.2, 0.3, 400), 4)

    def rule(v, p):
        v = np.sort(v, axis=-1)
        return v[..., max(v.shape[-1] - 1 - math.floor((1 - p) * v.shape[-1] + 1e-9), 0)]

    def draw(v, rounds=20000, block=7):
        blocks = math.ceil(len(v) / block)
        start = rng.integers(0, len(v), (rounds, blocks))
        index = (start[:, :, None] + np.arange(block)).reshape(rounds, -1)[:, : len(v)] % len(v)
        return rule(v[index], 0.9)

    ratio = draw(candidate) / draw(control)
    return {"candidate": candidate.tolist(), "control": control.tolist(), "p": 0.9,
            "estimate": float(rule(candidate, 0.9) / rule(control, 0.9)),
            "lower": float(np.quantile(ratio, 0.025)), "upper": float(np.quantile(ratio, 0.975))}


print(json.dumps({
    "betaInc": beta_inc(), "lnBeta": ln_beta(), "normalQuantile": normal(), "upperRank": upper_rank(),
    "earlyStopping": early_stopping(), "clopperPearson": clopper_pearson(), "rateSequence": rate_sequence(),
    "quantileRanks": quantile_ranks(), "jitter": jitter(), "kendall": ranks(), "mannWhitney": mann_whitney(),
    "mcnemar": mcnemar(), "buildShare": build_share(), "bootstrap": bootstrap(),
}))
