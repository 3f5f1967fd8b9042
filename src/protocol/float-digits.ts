/**
 * Writes a finite FP32 value as JSON: the fewest digits (at most 9) that read back as the same FP32, whether a client
 * parses them as double and narrows or straight as float. Printing the value as a double would take 17.
 *
 * The digits are `round(value * 10^k)`. Reading `digits / 10^k` is exact to the last bit in double arithmetic while
 * digits < 2^53 and |k| <= 22 (Clinger, "How to read floating point numbers accurately", 1990), so that the check
 * below computes what a client will.
 * @returns the offset after the last byte; at most `maxFloat32Chars` are written.
 */
export function writeFloat32(out: Uint8Array, offset: number, value: number): number {
  let at = offset;
  const size = Math.abs(value);
  if (value < 0 || Object.is(value, -0)) out[at++] = 0x2d;
  if (size === 0) return writeText(out, at, "0.0");
  const exponent = Math.floor(Math.log10(size));
  if (exponent < -13 || exponent > 15) return writeText(out, at, shortestFloat32(size));
  for (let digits = 6; digits <= 9; digits += 1) {
    const shift = digits - 1 - exponent;
    const power = powersOfTen[Math.abs(shift)] ?? Number.NaN;
    const whole = Math.round(shift < 0 ? size / power : size * power);
    if (Math.fround(shift < 0 ? whole * power : whole / power) === size) {
      return writeDecimal(out, at, whole, shift);
    }
  }
  return writeText(out, at, shortestFloat32(size));
}

/** Sign, 9 digits, point, "0.0000" or exponent. */
export const maxFloat32Chars = 24;

const powersOfTen = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** `whole * 10^-shift`, whole < 2^31. */
function writeDecimal(out: Uint8Array, offset: number, whole: number, shift: number): number {
  let digits = whole | 0;
  let scale = shift;
  while (digits % 10 === 0) {
    digits = (digits / 10) | 0;
    scale -= 1;
  }
  let count = 1;
  for (let rest = digits; rest > 9; rest = (rest / 10) | 0) count += 1;
  /** Of the first digit. */
  const exponent = count - 1 - scale;
  if (exponent < -5 || exponent > 9) return writeText(out, offset, scientific(digits, count, exponent));
  let at = offset;
  if (exponent < 0) {
    // 0.000123
    at = writeText(out, at, zeros[-exponent] ?? "");
    writeDigits(out, at, digits, count);
    return at + count;
  }
  if (scale <= 0) {
    // 12300.0
    writeDigits(out, at, digits, count);
    at += count;
    for (let n = scale; n < 0; n += 1) out[at++] = 0x30;
    return writeText(out, at, ".0");
  }
  // 12.3: the digits with room for the point.
  writeDigits(out, at + 1, digits, count);
  const whole1 = exponent + 1;
  out.copyWithin(at, at + 1, at + 1 + whole1);
  out[at + whole1] = 0x2e;
  return at + count + 1;
}

const zeros = ["", "0.", "0.0", "0.00", "0.000", "0.0000"];

function writeDigits(out: Uint8Array, at: number, digits: number, count: number): void {
  let rest = digits;
  for (let place = at + count - 1; place >= at; place -= 1) {
    const next = (rest / 10) | 0;
    out[place] = 0x30 + rest - next * 10;
    rest = next;
  }
}

function scientific(digits: number, count: number, exponent: number): string {
  const text = String(digits);
  return `${text[0]}${count > 1 ? `.${text.slice(1)}` : ""}e${exponent}`;
}

/** The same digits as text, for any FP32; ten times slower. */
export function shortestFloat32(value: number): string {
  for (let digits = 1; digits < 9; digits += 1) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(Number(value.toPrecision(9)));
}

function writeText(out: Uint8Array, offset: number, text: string): number {
  for (let i = 0; i < text.length; i += 1) out[offset + i] = text.charCodeAt(i);
  return offset + text.length;
}
