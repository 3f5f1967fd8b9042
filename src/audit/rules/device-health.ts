import type { Rule } from "./rule.ts";

/**
 * Whether the device lets times be judged at all. While it throttles, or did in more than the threshold's share of
 * the latest samples, the answer is inconclusive; it never fails, for that is no engine's fault.
 */
export const deviceHealth: Rule = {
  name: "deviceHealth",
  statistical: false,
  threshold: 0.2,
  applies: () => true,
  readsPairs: () => false,
  judge({ device }, { threshold }) {
    const { state, throttledShare, samples } = device;
    const share = `${Math.round(throttledShare * 100)} % of the latest samples were throttled`;
    const ok = state !== "throttled" && samples > 0 && throttledShare <= threshold;
    const verdict = ok ? "pass" : "inconclusive";
    return {
      rule: "deviceHealth",
      verdict,
      value: samples === 0 ? null : throttledShare,
      threshold,
      lower: null,
      upper: null,
      have: samples,
      need: verdict === "inconclusive" ? neededCalm(throttledShare, threshold) : 0,
      unit: "samples",
      alpha: 0,
      source: "device",
      scope: "recent",
      reason: state === "unknown" ? "no device readings" : `device ${state}; ${share}`,
    };
  },
};

/** Unthrottled samples until the fading share is at the threshold. */
function neededCalm(share: number, threshold: number): number | null {
  if (threshold <= 0) return null;
  return Math.max(1, Math.ceil(Math.log(threshold / Math.max(share, threshold)) / Math.log1p(-1 / 128)));
}
