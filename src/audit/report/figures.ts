/** Words for figures, the same in every format of the report; "-" stands for what is not known. */
const unknown = "-";

/** In the unit that suits it: `210 µs`, `3.20 ms`, `1.50 s`. */
export function seconds(value: number | null): string {
  if (value === null) return unknown;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${digits(value * 1e6)} µs`;
  return size < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
}

/** `97.5 %`; 0 and 100 only when it is none or all. */
export function percent(ratio: number | null): string {
  if (ratio === null) return unknown;
  if (ratio === 0 || ratio === 1) return `${ratio * 100} %`;
  const value = ratio * 100;
  if (value > 0 && value < 0.001) return "< 0.001 %";
  if (value > 99.99 && value < 100) return "> 99.99 %";
  return `${Math.abs(value) >= 1 ? value.toFixed(2).replace(/\.?0+$/, "") : Number(value.toPrecision(2))} %`;
}

/** A difference of two shares, in hundredths: `+0.5 points`. */
export function points(difference: number | null): string {
  if (difference === null) return unknown;
  return `${difference > 0 ? "+" : ""}${plain(difference * 100)} points`;
}

/** A difference of two times: `+3.20 ms`. */
export function signed(value: number | null): string {
  return value !== null && value > 0 ? `+${seconds(value)}` : seconds(value);
}

/** `3/1000` */
export function share(part: number | null, whole: number): string {
  return part === null || whole === 0 ? unknown : `${part}/${whole}`;
}

/** `1.23 x` */
export function times(ratio: number | null): string {
  return ratio === null ? unknown : `${ratio.toFixed(ratio < 10 ? 2 : 1)} x`;
}

export function bytes(value: number | null): string {
  if (value === null) return unknown;
  if (value < 1e6) return `${digits(value / 1e3)} kB`;
  return value < 1e9 ? `${digits(value / 1e6)} MB` : `${digits(value / 1e9)} GB`;
}

/** Three significant digits; powers of ten where they are shorter. */
export function plain(value: number | null): string {
  if (value === null) return unknown;
  if (value === 0 || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1);
  return size < 10 ? String(Number(value.toPrecision(3))) : digits(value);
}

/** A number as JSON has it: null for NaN and the infinities. */
export function finite(value: number | null | undefined): number | null {
  return value !== null && value !== undefined && Number.isFinite(value) ? value : null;
}

function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
