/** `1 input`, `32 inputs`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** `97.5 %`; 0 and 100 only when it is none or all. */
export function share(part: number, whole: number): string {
  if (whole === 0) return "-";
  const percent = (100 * part) / whole;
  if (part === 0 || part === whole) return `${percent} %`;
  return `${Math.min(99.9, Math.max(0.1, percent)).toFixed(1)} %`;
}
