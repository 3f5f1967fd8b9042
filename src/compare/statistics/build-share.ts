/**
 * How much of the spread of latencies lies between builds (X2): one-way random effects x_bi = mu + u_b + e_bi,
 * s_u^2 = max(0, (MSB - MSW) / n), ICC = s_u^2 / (s_u^2 + s_e^2). Builds of unequal size use
 * n0 = (N - sum n_b^2 / N) / (B - 1). Feed it block medians, not raw samples: those are autocorrelated.
 * NaN for fewer than two builds, or without any spread.
 */
export function buildShare(builds: readonly (readonly number[])[]): BuildShare {
  const total = builds.reduce((sum, build) => sum + build.length, 0);
  const grand = builds.reduce((sum, build) => sum + build.reduce((s, x) => s + x, 0), 0) / total;
  let between = 0;
  let within = 0;
  let squares = 0;
  for (const build of builds) {
    const mean = build.reduce((sum, x) => sum + x, 0) / build.length;
    between += build.length * (mean - grand) ** 2;
    within += build.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    squares += build.length ** 2;
  }
  const groups = builds.length;
  const meanWithin = within / (total - groups);
  const size = (total - squares / total) / (groups - 1);
  const betweenVariance = Math.max(0, (between / (groups - 1) - meanWithin) / size);
  return {
    icc: betweenVariance / (betweenVariance + meanWithin),
    betweenVariance,
    withinVariance: meanWithin,
  };
}

export interface BuildShare {
  /** 0: builds are alike; 1: the build decides everything. */
  readonly icc: number;
  readonly betweenVariance: number;
  readonly withinVariance: number;
}
